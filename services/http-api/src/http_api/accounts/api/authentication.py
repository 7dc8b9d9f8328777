"""Authentication by session cookie."""

from __future__ import annotations

from django.http import HttpRequest
from rest_framework.authentication import CSRFCheck, SessionAuthentication
from rest_framework.request import Request

from http_api.errors import CredentialsMissing, CsrfFailed


class SessionCookieAuthentication(SessionAuthentication):
    """The signed-in user; a call that changes something must bring the CSRF token."""

    def enforce_csrf(self, request: HttpRequest | Request) -> None:
        """Check the CSRF token of an unsafe call.

        Raises:
            CsrfFailed: HTTP 403.
        """
        check = CSRFCheck(lambda _request: None)  # type: ignore[arg-type]
        check.process_request(request)
        if check.process_view(request, None, (), {}):  # type: ignore[arg-type]
            raise CsrfFailed

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401."""
        return CredentialsMissing.challenge
