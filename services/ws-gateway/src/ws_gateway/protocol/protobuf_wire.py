"""The Protobuf wire format for msgspec structs: a table of field numbers a struct, and two walks over it.

Only what the client protocol uses: varints, bytes, text, messages, repeated fields, maps with text keys. Zero values
are left out; unknown fields are skipped.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, Final, NamedTuple

from msgspec import Raw, Struct

MAX_DEPTH: Final = 16
_VARINT_BYTES: Final = 10


class Malformed(ValueError):
    """These bytes are no such message."""


class Kind(Enum):
    """How a field's value is written."""

    UINT = auto()
    INT = auto()
    BOOL = auto()
    TEXT = auto()
    RAW = auto()  # bytes that hold JSON
    MESSAGE = auto()
    TEXTS = auto()  # repeated
    MESSAGES = auto()
    RAWS = auto()  # repeated messages, encoded before
    TEXT_MAP = auto()
    MESSAGE_MAP = auto()


class Field(NamedTuple):
    """One field of a message."""

    number: int
    name: str
    kind: Kind
    schema: Schema | None = None


class Schema:
    """The fields of one message; filled after its making, because messages may hold themselves."""

    def __init__(self, struct: type[Struct]) -> None:
        self.struct = struct
        self.fields: tuple[Field, ...] = ()
        self.by_number: dict[int, Field] = {}

    def define(self, *fields: Field) -> Schema:
        """Set the fields."""
        self.fields = fields
        self.by_number = {field.number: field for field in fields}
        return self


def varint(number: int) -> bytes:
    """A number, seven bits a byte, the lowest first; negative ones as 64-bit two's complement."""
    if 0 <= number < 0x80:
        return _ONE_BYTE[number]
    number &= 2**64 - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_ONE_BYTE: Final = [bytes((number,)) for number in range(0x80)]


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and where it ends.

    Raises:
        Malformed: it does not end, or has more than 64 bits.
    """
    number = shift = 0
    for end in range(at, min(at + _VARINT_BYTES, len(data))):
        byte = data[end]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & (2**64 - 1), end + 1
        shift += 7
    raise Malformed("a number does not end")


def delimited(number: int, value: bytes) -> bytes:
    """A field of bytes, with its tag."""
    return varint(number << 3 | 2) + varint(len(value)) + value


# Encoding


def encode(message: Any, schema: Schema) -> bytes:
    """Encode a struct."""
    return b"".join(_encode_field(field, value) for field in schema.fields if (value := getattr(message, field.name)))


def _encode_field(field: Field, value: Any) -> bytes:
    kind, number = field.kind, field.number
    if kind in (Kind.UINT, Kind.INT, Kind.BOOL):
        return varint(number << 3) + varint(int(value))
    if kind is Kind.TEXT:
        return delimited(number, value.encode())
    if kind is Kind.RAW:
        return delimited(number, bytes(value))
    if kind is Kind.MESSAGE:
        assert field.schema is not None
        return delimited(number, encode(value, field.schema))
    if kind is Kind.RAWS:
        return b"".join(delimited(number, bytes(item)) for item in value)
    if kind is Kind.TEXTS:
        return b"".join(delimited(number, item.encode()) for item in value)
    if kind is Kind.MESSAGES:
        assert field.schema is not None
        return b"".join(delimited(number, encode(item, field.schema)) for item in value)
    return b"".join(delimited(number, _entry(field, key, item)) for key, item in value.items())


def _entry(field: Field, key: str, value: Any) -> bytes:
    written = value.encode() if field.schema is None else encode(value, field.schema)
    return delimited(1, key.encode()) + delimited(2, written)


# Decoding


def decode(data: bytes, schema: Schema, depth: int = MAX_DEPTH) -> Any:
    """Decode a struct.

    Raises:
        Malformed: truncated, a field of another type, text that is not UTF-8, nesting beyond ``MAX_DEPTH``.
    """
    if depth < 1:
        raise Malformed("nested too deeply")
    values: dict[str, Any] = {}
    at, end = 0, len(data)
    while at < end:
        tag, at = read_varint(data, at)
        field = schema.by_number.get(tag >> 3)
        if tag & 7 == 0:
            number, at = read_varint(data, at)
            if field is not None:
                values[field.name] = _number(field, number)
        elif tag & 7 == 2:
            value, at = _bytes(data, at)
            if field is not None:
                _decode_field(values, field, value, depth)
        else:
            at = _skip(data, at, tag & 7)
    return schema.struct(**values)


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = read_varint(data, at)
    if at + size > len(data):
        raise Malformed("a field is longer than its message")
    return data[at : at + size], at + size


def _skip(data: bytes, at: int, wire_type: int) -> int:
    size = {1: 8, 5: 4}.get(wire_type)
    if size is None or at + size > len(data):
        raise Malformed("a field of an unknown type")
    return at + size


def _number(field: Field, number: int) -> int | bool:
    if field.kind is Kind.BOOL:
        return number != 0
    if field.kind is Kind.UINT:
        return number
    if field.kind is Kind.INT:
        return number - 2**64 if number >= 2**63 else number
    raise Malformed(f"{field.name} is no number")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise Malformed("text that is not UTF-8") from exc


def _decode_field(values: dict[str, Any], field: Field, value: bytes, depth: int) -> None:
    kind, name = field.kind, field.name
    if kind is Kind.TEXT:
        values[name] = _text(value)
    elif kind is Kind.RAW:
        values[name] = Raw(value)
    elif kind is Kind.MESSAGE:
        assert field.schema is not None
        values[name] = decode(value, field.schema, depth - 1)
    elif kind is Kind.TEXTS:
        values.setdefault(name, []).append(_text(value))
    elif kind is Kind.MESSAGES:
        assert field.schema is not None
        values.setdefault(name, []).append(decode(value, field.schema, depth - 1))
    elif kind in (Kind.TEXT_MAP, Kind.MESSAGE_MAP):
        key, item = _decode_entry(field, value, depth)
        values.setdefault(name, {})[key] = item
    else:
        raise Malformed(f"{name} is a number")


def _decode_entry(field: Field, value: bytes, depth: int) -> tuple[str, Any]:
    key, item, at = "", b"", 0
    while at < len(value):
        tag, at = read_varint(value, at)
        if tag & 7 != 2:
            raise Malformed("an entry of a map holds text")
        part, at = _bytes(value, at)
        if tag >> 3 == 1:
            key = _text(part)
        elif tag >> 3 == 2:
            item = part
    return key, _text(item) if field.schema is None else decode(item, field.schema, depth - 1)
