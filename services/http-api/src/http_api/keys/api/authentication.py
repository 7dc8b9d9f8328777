"""Authentication by API key: ``Authorization: Bearer clk_…`` or ``X-API-Key: clk_…``.

``Authorization: apikey clk_…`` is the same: older clients of Centrifugo's server API send that.

Source: docs/protocol.md; RFC 6750 section 2.1.
"""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from http_api.errors import CredentialsMissing
from http_api.keys.selectors import KeyCaller, key_caller


class ApiKeyAuthentication(BaseAuthentication):
    """Who shows a key is that key's holder, whatever cookies come along; ``request.auth`` is a :class:`KeyCaller`."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, KeyCaller] | None:
        """The key's holder, or None where no key is shown.

        Raises:
            KeyInvalid: HTTP 401; unknown or revoked.
        """
        key = _key_shown(request)
        return None if key is None else (AnonymousUser(), key_caller(key))

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401."""
        return CredentialsMissing.challenge


def _key_shown(request: Request) -> str | None:
    scheme, _, credentials = str(request.META.get("HTTP_AUTHORIZATION", "")).partition(" ")
    if scheme.lower() in {"bearer", "apikey"}:
        return credentials.strip()
    key = request.META.get("HTTP_X_API_KEY")
    return None if key is None else str(key).strip()
