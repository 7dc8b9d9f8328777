"""JSON values: what may be published, and its one encoding.

Data travels between processes as msgpack and arrives as an equal JSON value, not as equal bytes. So whatever msgpack
or a JSON parser elsewhere could not hold is refused at the door: NaN and Infinity, integers beyond 64 bits, lone
surrogates, nesting beyond ``MAX_DEPTH``.

Source: RFC 8259; ADR-0001.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, TypeAlias

import msgspec

from clarion.errors import DataInvalid, JsonMalformed, PublicationTooLarge

JSON: TypeAlias = Any
"""None, bool, int, float, str, or a list or str-keyed dict of these."""

PUBLICATION_MAX_BYTES: Final = 65_536
MAX_DEPTH: Final = 128

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_encoder = msgspec.json.Encoder()


def json_decode(raw: bytes) -> JSON:
    """Parse one JSON text whose value can travel.

    Raises:
        JsonMalformed: HTTP 400, protocol error 107; not JSON.
        DataInvalid: HTTP 400, protocol error 107; JSON that cannot travel.
    """
    value = json_parse(raw)
    _walk(value, MAX_DEPTH)
    return value


def json_parse(raw: bytes) -> JSON:
    """Parse one JSON text; its integers and depth are checked where the value is used (:func:`value_check`).

    Raises:
        JsonMalformed: HTTP 400, protocol error 107; not JSON.
        DataInvalid: HTTP 400, protocol error 107; the form of JSON, but with NaN, 1e999 or a lone surrogate.
    """
    try:
        return msgspec.json.decode(raw)
    except RecursionError as exc:
        raise DataInvalid(f"the data is nested more than {MAX_DEPTH} deep") from exc
    except (msgspec.MsgspecError, UnicodeError) as exc:
        raise _refusal(raw, exc) from exc


def _refusal(raw: bytes, cause: Exception) -> DataInvalid:
    """Python's own parser lets NaN, 1e999 and lone surrogates pass: what it takes has the form of JSON."""
    try:
        json.loads(raw.decode())
    except RecursionError:
        return DataInvalid(f"the data is nested more than {MAX_DEPTH} deep")
    except ValueError:
        reason = str(cause).removeprefix("JSON is malformed: ")
        return JsonMalformed(f"this is not JSON: {reason}")
    return DataInvalid("the data holds NaN, Infinity, a number out of range or a lone surrogate")


def json_encode(value: JSON) -> bytes:
    """Encode a checked value as compact UTF-8 JSON."""
    return _encoder.encode(value)


def publication_check(data: JSON, max_bytes: int = PUBLICATION_MAX_BYTES) -> bytes:
    """Check one publication's data and return its JSON text.

    Raises:
        DataInvalid: HTTP 400; a value that cannot travel, or a type that JSON does not have.
        PublicationTooLarge: HTTP 413; over ``max_bytes`` as compact UTF-8 JSON.
    """
    try:
        # The size first: encoding is fast, while the check walks the whole value in Python.
        encoded = json_encode(data)
    except (TypeError, ValueError, RecursionError) as exc:
        raise DataInvalid(f"the data is not a JSON value that can travel: {_reason(exc)}") from exc
    if len(encoded) > max_bytes:
        raise PublicationTooLarge(f"the data has {len(encoded):,} bytes as JSON; {max_bytes:,} are allowed")
    value_check(data)
    return encoded


def value_check(value: JSON) -> None:
    """Raise DataInvalid unless the value is JSON that arrives as it left."""
    try:
        # The C encoder sees nearly all in one pass: foreign types, non-finite floats, cycles and depth.
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise DataInvalid(f"the data is not a JSON value that can travel: {_reason(exc)}") from exc
    _walk(value, MAX_DEPTH)


def _reason(exc: Exception) -> str:
    if isinstance(exc, UnicodeError):
        return "it holds a lone surrogate"
    return "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc)


def _walk(value: JSON, depth: int) -> None:
    """Refuse what json.dumps lets pass and msgpack would not: large integers, keys that are no text, depth."""
    if isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            raise DataInvalid("an integer beyond 64 bits cannot travel: send it as text")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise DataInvalid("NaN and Infinity are not JSON")
    elif isinstance(value, (list, tuple)):
        _walk_items(value, depth)
    elif isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise DataInvalid("a key of an object is text")
        _walk_items(value.values(), depth)


def _walk_items(items: Any, depth: int) -> None:
    if depth == 0:
        raise DataInvalid(f"the data is nested more than {MAX_DEPTH} deep")
    for item in items:
        _walk(item, depth - 1)
