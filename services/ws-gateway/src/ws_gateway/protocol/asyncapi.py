"""The AsyncAPI 3 document of the client protocol, made from the structs: ``python -m ws_gateway.protocol.asyncapi``.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from __future__ import annotations

import json
from typing import Any, Final

from msgspec import Struct, inspect

from clarion import __version__
from clarion.codes import DisconnectCode, ErrorCode, UnsubscribeCode
from ws_gateway.protocol.commands import Command
from ws_gateway.protocol.replies import Reply

_ADDRESSES: Final = {
    "websocket": (
        "/connection/websocket",
        "A WebSocket; a frame holds objects joined by line feeds, or length-prefixed Protobuf (centrifuge-protobuf).",
    ),
    "http_stream": (
        "/connection/http_stream",
        "POST with the first commands; the answer is an endless stream of lines. Further commands go to /emulation.",
    ),
    "sse": (
        "/connection/sse",
        "GET with cf_connect, a connect command; the answer is server-sent events. Further commands go to /emulation.",
    ),
}


def document() -> dict[str, Any]:
    """The document as JSON values."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Clarion's client protocol",
            "version": __version__,
            "description": (
                "Centrifugo's client protocol, as Clarion speaks it. What the fields mean: docs/protocol.md. "
                "A field that is zero, empty or false is left out."
            ),
            "license": {"name": "BSD-3-Clause"},
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(*about) for name, about in _ADDRESSES.items()},
        "operations": {f"{name}_{kind}": _operation(name, kind) for name in _ADDRESSES for kind in ("send", "receive")},
        "components": {
            "messages": {
                "command": {
                    "title": "What a client says",
                    "payload": {"$ref": "#/components/schemas/Command"},
                    "examples": [{"payload": {"id": 1, "connect": {"token": "eyJ…"}}}],
                },
                "reply": {
                    "title": "What the server says: a reply, a push, or, empty, a ping",
                    "payload": {"$ref": "#/components/schemas/Reply"},
                    "examples": [
                        {"payload": {"id": 1, "connect": {"client": "0192…", "version": "clarion", "ping": 25}}},
                        {"payload": {"push": {"channel": "chat:lobby", "pub": {"data": {"text": "hi"}, "offset": 7}}}},
                        {"payload": {}},
                    ],
                },
            },
            "schemas": {**_schemas([Command, Reply]), **_codes()},
        },
    }


def _channel(address: str, description: str) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in ("command", "reply")},
    }


def _operation(channel: str, kind: str) -> dict[str, Any]:
    message = "command" if kind == "receive" else "reply"
    return {
        "action": kind,  # as the server sees it
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
    }


def _schemas(roots: list[type[Struct]]) -> dict[str, Any]:
    """A JSON Schema for each struct that the roots lead to."""
    found: dict[str, Any] = {}
    waiting = list(roots)
    while waiting:
        struct = waiting.pop(0)
        if struct.__name__ not in found:
            info = inspect.type_info(struct)
            assert isinstance(info, inspect.StructType)
            found[struct.__name__] = {
                "type": "object",
                "description": _text(struct.__doc__ or ""),
                "properties": {field.encode_name: _schema(field.type, waiting) for field in info.fields},
                "required": [field.encode_name for field in info.fields if field.required],
            }
    return found


def _schema(info: inspect.Type, waiting: list[type[Struct]]) -> dict[str, Any]:
    """The JSON Schema of a field's type; structs that it names go to ``waiting``."""
    if isinstance(info, inspect.UnionType):
        [info] = [kind for kind in info.types if not isinstance(kind, inspect.NoneType)]
    if isinstance(info, inspect.StructType):
        waiting.append(info.cls)
        return {"$ref": f"#/components/schemas/{info.cls.__name__}"}
    if isinstance(info, inspect.ListType):
        return {"type": "array", "items": _schema(info.item_type, waiting)}
    if isinstance(info, inspect.DictType):
        return {"type": "object", "additionalProperties": _schema(info.value_type, waiting)}
    if isinstance(info, inspect.IntType):
        bounds = {"minimum": info.ge, "maximum": info.le}
        return {"type": "integer", **{name: bound for name, bound in bounds.items() if bound is not None}}
    if isinstance(info, inspect.RawType):
        return {"description": "any JSON value"}
    return {"type": {inspect.BoolType: "boolean", inspect.StrType: "string"}[type(info)]}


def _text(docstring: str) -> str:
    """A docstring as one line, without its markup."""
    return " ".join(docstring.replace("``", "").split())


def _codes() -> dict[str, Any]:
    kinds = {"ErrorCode": ErrorCode, "UnsubscribeCode": UnsubscribeCode, "DisconnectCode": DisconnectCode}
    return {
        name: {
            "type": "integer",
            "enum": [int(code) for code in codes],
            "description": ", ".join(f"{int(code)} {code.name.lower().replace('_', ' ')}" for code in codes),
        }
        for name, codes in kinds.items()
    }


def text() -> str:
    """The document as it stands in ``docs/reference/asyncapi.json``."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201 - this is what the command is for
