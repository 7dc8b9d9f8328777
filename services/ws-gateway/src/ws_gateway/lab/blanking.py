"""A scope as JSON, without its secrets: what is not known to be harmless is blanked. Copy it along with the example."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

BLANK: Final = "[blanked]"
SHOWN_KEYS: Final = re.compile(
    "type|asgi|http_version|scheme|path|raw_path|root_path|path_remaining|url_route|client|server|extensions"
)
SHOWN_HEADERS: Final = re.compile(
    "accept(-encoding|-language)?|cache-control|connection|host|origin|pragma|sec-websocket-(extensions|version)"
    "|upgrade|user-agent|x-forwarded-(for|proto)|x-real-ip|x-request-id"
)
SHOWN_PARAMETERS: Final = frozenset(["refuse"])
SUBPROTOCOL: Final = re.compile(r"lab\.v[0-9]{1,3}")
"""The form of a name; whatever else is offered may be a token, for a browser can set no other header."""


def scope_shown(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return every key of the scope; of a secret only that it is there."""
    return {key: _value_shown(key, value) for key, value in scope.items()}


def _value_shown(key: str, value: Any) -> Any:
    if SHOWN_KEYS.fullmatch(key):
        return _plain(value)
    if key == "headers":
        return [[name.decode("latin-1"), _header_shown(name, content)] for name, content in value]
    if key == "subprotocols":
        return _subprotocols_shown(value)
    if key == "query_string":
        pairs = parse_qsl(value.decode("latin-1"))  # without values that are empty: a bare token would be a name
        return "&".join(f"{name}={content if name in SHOWN_PARAMETERS else BLANK}" for name, content in pairs)
    if key == "cookies":
        return dict.fromkeys(value, BLANK)
    if key == "user":
        return str(value)  # the name alone: a user's record holds the hash of a password
    return BLANK


def _header_shown(name: bytes, content: bytes) -> str:
    header = name.decode("latin-1").lower()
    if header == "sec-websocket-protocol":
        return ", ".join(_subprotocols_shown(part.strip() for part in content.decode("latin-1").split(",")))
    return content.decode("latin-1") if SHOWN_HEADERS.fullmatch(header) else BLANK


def _subprotocols_shown(names: Iterable[str]) -> list[str]:
    return [name if SUBPROTOCOL.fullmatch(name) else BLANK for name in names]


def _plain(value: Any) -> Any:
    """Make JSON of what ASGI allows: bytes as text, tuples as lists."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else type(value).__name__
