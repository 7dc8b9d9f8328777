"""Who is signed in, by Django's session cookie: Channels' stock middleware, but for what it does to a session.

Stock ``AuthMiddleware`` knows no ``SECRET_KEY_FALLBACKS``, and deletes a session that it cannot verify. While the key
is rotated that would sign out whoever opens a socket, for http-api too. Here Django's own ``get_user`` looks at the
session's content, and nothing is written: no answer to a handshake could give a browser another cookie.

Source: docs/runbooks/secrets.md, "Django's secret key".
"""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddleware
from channels.db import database_sync_to_async
from channels.sessions import CookieMiddleware, SessionMiddleware
from django.contrib.auth import get_user
from django.http import HttpRequest


def session_stack(inner: Any) -> Any:
    """Stock ``AuthMiddlewareStack``, reading alone: ``scope["user"]`` is the session's user, or anonymous."""
    return CookieMiddleware(SessionMiddleware(SessionUserMiddleware(inner)))


class SessionUserMiddleware(AuthMiddleware):
    """Set ``scope["user"]``; the session stays as it is, whatever is found."""

    async def resolve_scope(self, scope: Any) -> None:
        """Ask the database for the session and its user."""
        scope["user"]._wrapped = await _user(scope["session"])


class _Content(dict[str, Any]):
    """A session's content. What Django would do with the session itself is left to http-api."""

    def flush(self) -> None:
        """Keep a session that is not valid here."""

    def cycle_key(self) -> None:
        """Keep the key that the browser has."""


@database_sync_to_async
def _user(session: Any) -> Any:
    request: Any = HttpRequest()
    request.session = _Content(session.items())
    return get_user(request)
