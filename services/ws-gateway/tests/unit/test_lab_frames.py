"""ws_gateway.lab.frames: what the examples take, and how they say what they do not."""

from __future__ import annotations

import json

import pytest

from clarion.errors import DataInvalid, JsonMalformed
from ws_gateway.lab.frames import (
    BINARY_MAX_BYTES,
    FRAME_MAX_CHARS,
    MSG_MAX_CHARS,
    BadMessage,
    bytes_of,
    error,
    message_of,
)


def code_of(text: str | None) -> str:
    with pytest.raises(BadMessage) as caught:
        message_of(text)
    frame = caught.value.frame["error"]
    assert frame["message"] == str(caught.value) != ""
    return str(frame["code"])


@pytest.mark.parametrize("msg", ["hello", " ", "äöü 🙂", "<b>&amp;</b>", "x" * MSG_MAX_CHARS, "🙂" * MSG_MAX_CHARS])
def test_message_of_returns_the_field_as_it_came(msg: str) -> None:
    """Nothing is stripped or escaped, whichever way the JSON spells it; a field beside it is not looked at."""
    for ascii_only in (True, False):
        assert message_of(json.dumps({"msg": msg, "id": 1}, ensure_ascii=ascii_only)) == msg


@pytest.mark.parametrize(
    "text", ["", " ", "{", "{'msg': 'a'}", '{"msg": "a"} x', "hello", "[" * 30_000, '{"msg": ' + "1" * 5_000 + "}"]
)
def test_message_of_refuses_what_is_no_json(text: str) -> None:
    """Also what only Python's parser gives up on: depth, and numbers of thousands of digits."""
    assert code_of(text) == "json_malformed" == JsonMalformed.code


@pytest.mark.parametrize(
    "text",
    [
        "null", "1", '"hello"', "[]", '["msg"]', "{}", '{"message": "a"}', '{"msg": null}', '{"msg": 1}',
        '{"msg": {}}', '{"msg": ""}', "NaN", '{"msg": NaN}', '{"msg": "a", "n": NaN}', '{"msg": "a", "n": -Infinity}',
        '{"msg": "\\u0000"}', '{"msg": "\\ud800"}', None,
    ],
)  # fmt: skip
def test_message_of_refuses_another_shape(text: str | None) -> None:
    """No object, no msg, msg that is no text, NaN, text that a database or a layer could not hold, a binary frame."""
    assert code_of(text) == "data_invalid" == DataInvalid.code


@pytest.mark.parametrize(
    "text", [json.dumps({"msg": "x" * (MSG_MAX_CHARS + 1)}), "x" * (FRAME_MAX_CHARS + 1), "[" * 10_000_000]
)
def test_message_of_refuses_what_is_too_long(text: str) -> None:
    """A frame that is far too long is not even parsed."""
    assert code_of(text) == "message_too_large"


def test_bytes_of_refuses_what_is_too_long() -> None:
    """A binary frame is sent back, so it has a bound; the empty one is fine."""
    assert bytes_of(b"") == b""
    assert bytes_of(bytes(BINARY_MAX_BYTES)) == bytes(BINARY_MAX_BYTES)
    with pytest.raises(BadMessage):
        bytes_of(bytes(BINARY_MAX_BYTES + 1))


def test_error_is_the_frame_of_every_example() -> None:
    """Its shape is the wire's."""
    assert error("a_code", "Plain English.") == {"error": {"code": "a_code", "message": "Plain English."}}
