"""What every example says and hears: JSON with a field ``msg``, and error frames. Copy it along with an example."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

try:
    from clarion.errors import ChannelLayerUnavailable
except ImportError:  # a project of your own, with the layer of channels_redis
    from redis.exceptions import RedisError

    LAYER_ERRORS: tuple[type[Exception], ...] = (RedisError, OSError)
else:
    LAYER_ERRORS = (ChannelLayerUnavailable,)

MSG_MAX_CHARS: Final = 4_096
FRAME_MAX_CHARS: Final = 16 * MSG_MAX_CHARS
"""Of the JSON text: one character may be written as twelve, ``\\ud83d\\ude42``."""
BINARY_MAX_BYTES: Final = 65_536


def error(code: str, message: str) -> dict[str, Any]:
    """Make the frame that says what was wrong; the socket stays open."""
    return {"error": {"code": code, "message": message}}


LAYER_AWAY: Final = error("layer_unavailable", "Redis did not answer in time: nothing is known to have been sent")
"""The answer when a call to the channel layer raised one of LAYER_ERRORS."""


class BadMessage(ValueError):
    """The client sent something that the example does not take; ``frame`` is the answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.frame = error(code, message)


def message_of(text: str | None) -> str:
    """Return ``msg`` of a text frame, or raise BadMessage: json_malformed, data_invalid or message_too_large.

    Args:
        text: ``message.get("text")``; None is a binary frame.
    """
    return msg_of(json_of(text))


def json_of(text: str | None) -> Any:
    """Parse a text frame."""
    try:
        return json.loads(text_of(text), parse_constant=no_constant)
    except BadMessage:
        raise
    except (ValueError, RecursionError) as exc:
        raise BadMessage("json_malformed", f"this is not JSON: {exc}") from exc


def text_of(text: str | None) -> str:
    """Return the text of a frame that is text, and not too long to be parsed."""
    if text is None:
        raise BadMessage("data_invalid", "send text: this example takes no binary frame")
    if len(text) > FRAME_MAX_CHARS:
        raise BadMessage("message_too_large", f"a frame has at most {FRAME_MAX_CHARS:,} characters")
    return text


def bytes_of(data: bytes | None) -> bytes:
    """Return the bytes of a binary frame that is not too long to be sent back."""
    if data is None or len(data) > BINARY_MAX_BYTES:
        raise BadMessage("message_too_large", f"a binary frame has at most {BINARY_MAX_BYTES:,} bytes")
    return data


def msg_of(content: Any) -> str:
    """Return the field ``msg`` of what was parsed: text that a database and a channel layer can hold."""
    msg = content.get("msg") if isinstance(content, dict) else None
    if not isinstance(msg, str) or not msg:
        raise BadMessage("data_invalid", 'send an object with a field "msg" that is text, as {"msg": "hello"}')
    if len(msg) > MSG_MAX_CHARS:
        raise BadMessage("message_too_large", f'"msg" has at most {MSG_MAX_CHARS:,} characters, not {len(msg):,}')
    # PostgreSQL's text holds no NUL; half of a surrogate pair cannot be encoded as UTF-8.
    if "\0" in msg or any("\ud800" <= char <= "\udfff" for char in msg):
        raise BadMessage("data_invalid", '"msg" holds a NUL or a lone surrogate')
    return msg


def no_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity: Python's parser takes them, ``JSON.parse`` in the browser does not."""
    raise BadMessage("data_invalid", f"{name} is not JSON")
