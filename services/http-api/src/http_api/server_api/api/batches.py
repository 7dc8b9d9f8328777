"""Several commands in one request, done one after the other.

Source: docs/reference/server-api.md, "batch".
"""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

from msgspec import Struct

from clarion.errors import ClarionError, MethodNotFound, RequestInvalid
from clarion.values import JSON
from http_api.errors import BatchUnfinished
from http_api.keys.api.permissions import scope_check
from http_api.keys.selectors import KeyCaller
from http_api.server_api.api.methods import METHODS, Method
from http_api.server_api.requests import BatchRequest, Request, items_check, request_of
from http_api.server_api.results import error_of

BATCH_S: Final = 20.0
"""After so long no further command is begun: nginx waits 40 s for the answer."""

Reply = dict[str, Struct]
"""``{"<method>": result}`` or ``{"error": {"code", "message"}}``."""


class Command(NamedTuple):
    """One command; ``method`` is None if there is no such method."""

    name: str
    method: Method | None
    request: Request | None


def batch_read(batch: BatchRequest) -> list[Command]:
    """Read every command before the first is done.

    Raises:
        RequestInvalid: HTTP 400; a command is malformed, or there are too many.
    """
    items_check(batch.commands, "commands")
    return [_command(number, document) for number, document in enumerate(batch.commands)]


def _command(number: int, document: dict[str, JSON]) -> Command:
    given = {name: value for name, value in document.items() if value is not None}
    if len(given) != 1:
        raise RequestInvalid(f"commands[{number}] holds {len(given)} methods, not one")
    [(name, fields)] = given.items()
    method = METHODS.get(name)
    if method is None:
        return Command(name, None, None)
    try:
        return Command(name, method, request_of(method.request, fields))
    except RequestInvalid as exc:
        raise RequestInvalid(f"commands[{number}].{name}: {exc.detail}") from exc


def batch_run(commands: list[Command], caller: KeyCaller) -> list[Reply]:
    """Do the commands, and say of each what became of it. One that fails does not keep the others."""
    end = time.monotonic() + BATCH_S
    return [_reply(command, caller, is_late=time.monotonic() > end) for command in commands]


def _reply(command: Command, caller: KeyCaller, *, is_late: bool) -> Reply:
    try:
        return {command.name: _answer(command, caller, is_late=is_late)}
    except ClarionError as exc:
        return {"error": error_of(exc)}


def _answer(command: Command, caller: KeyCaller, *, is_late: bool) -> Any:
    if command.method is None or command.request is None:
        raise MethodNotFound(f"there is no method {command.name[:100]!a}")
    scope_check(caller, command.method.scope)
    if is_late:
        raise BatchUnfinished
    return command.method.answer(command.request)
