"""What a handshake says of its sender: token before cookie, and a bad token is refused even with a good cookie.

A browser cannot set headers on a WebSocket, so a token comes as ``?token=`` (short-lived there, blanked in every log)
or as the subprotocol pair ``clarion, <token>``.

Source: docs/protocol.md, "Plain rooms".
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import parse_qs

from django.conf import settings

from clarion.errors import ClarionError, KeysUnavailable, TokenInvalid
from clarion.tokens import ConnectionToken, KeyNotHere, TokenVerifier
from ws_gateway.access import Identity
from ws_gateway.sessions import session_stack

SUBPROTOCOL: Final = "clarion"

Scope = dict[str, Any]


def query_of(scope: Scope) -> dict[str, str]:
    """The query's parameters; of one given twice, the last."""
    raw = scope.get("query_string", b"").decode("latin-1")
    return {name: values[-1] for name, values in parse_qs(raw, keep_blank_values=True).items()}


def header_of(scope: Scope, name: bytes) -> str | None:
    """A header's value, or None. One given twice has no value that could be trusted: the last one counts."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[-1].decode("latin-1") if values else None


def token_of(scope: Scope) -> tuple[str | None, bool]:
    """The token that the handshake holds, and whether it stood in the URL."""
    offered: list[str] = scope.get("subprotocols", [])
    if len(offered) >= 2 and offered[0] == SUBPROTOCOL:
        return offered[1], False
    return query_of(scope).get("token"), True


async def identity_of(scope: Scope, verifier: TokenVerifier, timeout_s: float) -> Identity:
    """Find out who is connecting.

    Raises:
        TokenExpired, TokenInvalid: close code 4401.
        KeysUnavailable, TimeoutError, django.db.Error: a key or the session could not be read: close code 1013.
    """
    token, in_url = token_of(scope)
    if token is not None:
        claims = await _claims_of(token, verifier, timeout_s, in_url=in_url)
        return Identity(user=claims.user, has_token=True, grants=claims.granted)
    if not has_session_cookie(scope):  # anonymous: no thread hop, no query
        return Identity()
    async with asyncio.timeout(timeout_s):
        return Identity(user=await session_user(scope))


async def _claims_of(token: str, verifier: TokenVerifier, timeout_s: float, *, in_url: bool) -> ConnectionToken:
    try:
        return verifier.verify_connection(token, in_url=in_url)  # nearly always: no timer, no turn of the loop
    except KeyNotHere as exc:
        missing = exc
    failure: ClarionError = TokenInvalid()
    try:
        async with asyncio.timeout(timeout_s):
            await verifier.fetch_keys(missing)
    except TimeoutError:
        failure = KeysUnavailable()  # unless it was only to look for newer ones: the old keys serve on
    try:
        return verifier.verify_connection(token, in_url=in_url)
    except KeyNotHere as exc:
        raise failure from exc


def has_session_cookie(scope: Scope) -> bool:
    """Whether a session cookie came, of whatever worth."""
    # Not parsed here: the middleware does that, and a false alarm costs only its query.
    return f"{settings.SESSION_COOKIE_NAME}=" in (header_of(scope, b"cookie") or "")


async def session_user(scope: Scope) -> str:
    """The signed-in user's id by its cookie, "" if nobody is."""
    found: list[str] = []

    async def inner(scope: Scope, _receive: object, _send: object) -> None:
        user = scope["user"]
        if user.is_authenticated:
            found.append(str(user.pk))

    # The stack is a few objects around `inner`; it costs a thread hop and two queries, which is why tokens go without.
    await session_stack(inner)(dict(scope), None, None)
    return found[0] if found else ""
