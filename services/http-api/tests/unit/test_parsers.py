"""http_api.rest.parsers: bounded, strict JSON."""

from __future__ import annotations

import contextlib

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from clarion.errors import DataInvalid, JsonMalformed
from clarion.values import json_encode
from http_api.env import env
from http_api.errors import BodyTooLarge, LengthRequired
from http_api.rest.parsers import body_check, json_parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_json_parse_reads_what_json_encode_wrote(value: object) -> None:
    """Every value that can travel is read as it was."""
    assert json_parse(json_encode(value)) == value


@given(st.binary(max_size=60))
def test_json_parse_knows_two_refusals(raw: bytes) -> None:
    """Whatever the bytes are, they are a value or one of two errors; nothing else leaves."""
    with contextlib.suppress(DataInvalid):
        json_parse(raw)


@pytest.mark.parametrize("raw", [b"", b"[", b'"\xff"', b'"\\x"', b"01", b"+1", b"nan", b"{1:2}", b"\x00", b"1 2"])
def test_json_parse_refuses_what_is_not_json(raw: bytes) -> None:
    """Not JSON by its syntax: json_malformed."""
    with pytest.raises(JsonMalformed):
        json_parse(raw)


@pytest.mark.parametrize(
    "raw", [b"NaN", b"[-Infinity]", b"1e999", b'"\\udc00"', b'{"\\ud800":1}', b"[" * 10**5 + b"]" * 10**5]
)
def test_json_parse_tells_what_cannot_travel_apart(raw: bytes) -> None:
    """JSON as most parsers take it, but no value that travels: data_invalid."""
    with pytest.raises(DataInvalid) as caught:
        json_parse(raw)
    assert not isinstance(caught.value, JsonMalformed)


def test_body_check_asks_the_headers_alone() -> None:
    """Over the bound by its Content-Length: refused; at the bound or without a body: passed."""
    post = RequestFactory().post
    body_check(post("/", b"", "application/json", CONTENT_LENGTH=str(env.http_body_max_bytes)))
    body_check(post("/", b"", "application/json", CONTENT_LENGTH=""))
    with pytest.raises(BodyTooLarge):
        body_check(post("/", b"", "application/json", CONTENT_LENGTH=str(env.http_body_max_bytes + 1)))
    with pytest.raises(LengthRequired):
        body_check(post("/", b"", "application/json", CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked"))
