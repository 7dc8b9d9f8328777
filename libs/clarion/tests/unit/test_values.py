"""clarion.values: what JSON may travel."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.errors import DataInvalid, JsonMalformed, PublicationTooLarge
from clarion.values import MAX_DEPTH, json_decode, json_encode, publication_check, value_check

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@given(JSON_VALUES)
def test_a_value_that_passes_arrives_equal(value: Any) -> None:
    """What is let in comes out of msgpack and JSON as an equal value."""
    publication_check(value, max_bytes=10**9)
    travelled = msgpack.unpackb(msgpack.packb(value), strict_map_key=False)
    assert travelled == value
    assert json_decode(json_encode(travelled)) == value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), [1, float("-inf")], 2**64, -(2**63) - 1, {"a": [2**64]}, "\ud800", {"\udfff": 1},
        {1: 2}, {"a": {None: 1}}, {"x": b"bytes"}, object(), {1, 2}, nested(MAX_DEPTH + 1), nested(5_000),
    ],
)  # fmt: skip
def test_value_check_refuses_what_cannot_travel(value: Any) -> None:
    """NaN, Infinity, integers beyond 64 bits, lone surrogates, foreign types, deep nesting: HTTP 400."""
    with pytest.raises(DataInvalid):
        value_check(value)
    with pytest.raises(DataInvalid):
        publication_check(value)


def test_value_check_refuses_a_cycle() -> None:
    """A list that holds itself ends in an error, not in a full stack."""
    value: list[Any] = []
    value.append(value)
    for check in (value_check, publication_check):
        with pytest.raises(DataInvalid):
            check(value)


def test_value_check_allows_the_limits() -> None:
    """The largest integers and the deepest nesting pass."""
    value = [2**64 - 1, -(2**63), True, None, nested(MAX_DEPTH - 1)]
    value_check(value)
    assert json_decode(json_encode(value)) == value


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"nan", b"[1,]", b"\xff", b"'a'", b"[1] x", b"\xef\xbb\xbf1", b'"a', b'"\xed\xa0\x80"', b'"\\x"',
        b"01", b"+1", b"{1:2}", b"\x00",
    ],
)  # fmt: skip
def test_json_decode_refuses_what_is_no_json(raw: bytes) -> None:
    """The strict grammar of RFC 8259, and UTF-8: code json_malformed, and the text says so once."""
    with pytest.raises(JsonMalformed) as caught:
        json_decode(raw)
    assert "malformed" not in caught.value.detail


@pytest.mark.parametrize(
    "raw",
    [
        b"NaN", b"[-Infinity]", b"1e999", b'"\\udc00"', b'{"\\ud800":1}', b"18446744073709551616",
        b"-9223372036854775809", b"[" * 200 + b"]" * 200, b"[" * 9_999 + b"]" * 9_999,
    ],
)  # fmt: skip
def test_json_decode_refuses_json_that_cannot_travel(raw: bytes) -> None:
    """It has the form of JSON, and other parsers take it; refused all the same: code data_invalid."""
    with pytest.raises(DataInvalid) as caught:
        json_decode(raw)
    assert caught.value.code == "data_invalid"


@given(st.binary(max_size=60))
def test_json_decode_knows_two_refusals(raw: bytes) -> None:
    """Whatever the bytes are, they are a value or one of two errors; nothing else leaves."""
    try:
        json_decode(raw)
    except DataInvalid as exc:
        assert exc.code in ("json_malformed", "data_invalid")  # noqa: PT017 - most inputs raise, some are values


def test_publication_check_counts_bytes_of_compact_utf8() -> None:
    """The limit is on the encoded data, not on characters or on the white space of the request."""
    assert publication_check("é" * 10, max_bytes=22) == '"éééééééééé"'.encode()
    with pytest.raises(PublicationTooLarge, match="22 bytes"):
        publication_check("é" * 10, max_bytes=21)
