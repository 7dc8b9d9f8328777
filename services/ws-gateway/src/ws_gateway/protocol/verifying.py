"""Tokens whose key is not here yet: the command waits for the key, and then is taken once more.

A token's key is asked for once. What is not found then is an invalid token like any other, so that nobody keeps a
gateway asking the endpoint, and no command stays without an answer.

Source: docs/protocol.md, "Keys"; ADR-0007.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from clarion.errors import ClarionError, TokenInvalid
from clarion.tokens import KeyNotHere
from ws_gateway.protocol.commands import Command
from ws_gateway.protocol.effects import FetchKeys

if TYPE_CHECKING:
    from ws_gateway.protocol.session import Session

Token = TypeVar("Token")


def verified(session: Session, command: Command, verify: Callable[[str], Token], token: str) -> Token | None:
    """What a command's token says; None: the command waits for the token's key.

    Raises:
        TokenExpired: error 109.
        TokenInvalid: the caller says what that means for its command.
        KeysUnavailable: error 100, temporary; the key could not be fetched.
        TooManyRequests: error 111.
    """
    try:
        return verify(token)
    except KeyNotHere as exc:
        if session.key_failure is not None:
            raise session.key_failure from exc
        session.begin()
        session.do(FetchKeys(exc, command))
        return None


def keys_fetched(session: Session, command: Command, failure: ClarionError | None, now: float) -> None:
    """Take a command whose token waited for a key; what came for its channel meanwhile follows.

    Args:
        failure: why the key is not here.
    """
    session.finish()
    channel = command.subscribe.channel if command.subscribe is not None else None
    waited = session.waiting.pop(channel, []) if channel is not None else []
    session.key_failure = failure or TokenInvalid()
    session.again(command, now)
    session.key_failure = None
    if channel is not None and channel not in session.waiting:
        session.unwanted -= {channel}  # it was refused: there is nothing that the server wanted to end
    for each in waited:
        session.again(each, now)
