"""permessage-deflate: what is agreed on, and frames that websockets inflates."""

from __future__ import annotations

import os

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.streams import StreamReader

from clarion.server.deflate import Deflate
from clarion.server.frames import binary_frame, text_frame

CHROMIUM = "permessage-deflate; client_max_window_bits"
BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def header(*offers: str) -> list[tuple[str, str]]:
    return [("Host", "x"), *(("Sec-WebSocket-Extensions", offer) for offer in offers)]


def inflated(data: bytes) -> Frame:
    """One frame as a client reads it that has agreed."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    client = PerMessageDeflate(
        remote_no_context_takeover=True,
        local_no_context_takeover=True,
        remote_max_window_bits=15,
        local_max_window_bits=15,
    )
    parsing = Frame.parse(reader.read_exact, mask=False, max_size=None, extensions=[client])
    with pytest.raises(StopIteration) as done:
        next(parsing)
    frame: Frame = done.value.value
    assert reader.at_eof()
    return frame


@pytest.mark.parametrize(
    "offers",
    [
        ["permessage-deflate"],
        [CHROMIUM],
        ["x-webkit-deflate-frame, permessage-deflate; client_max_window_bits=10"],
        ["x-other", "permessage-deflate; server_no_context_takeover"],
        ["permessage-deflate; server_max_window_bits=10, permessage-deflate"],
        ["permessage-deflate; unknown, permessage-deflate"],
        ["permessage-deflate; server_max_window_bits=15"],
    ],
)
def test_offers_are_agreed_to_without_takeover(offers: list[str]) -> None:
    """Neither side remembers anything between two messages, whatever else was offered."""
    agreement = Deflate().agree(header(*offers))
    assert agreement is not None
    assert {part.strip() for part in agreement.header.split(";")} >= set(BOTH.split("; "))
    extension = agreement.extension()
    assert extension.local_no_context_takeover
    assert extension.remote_no_context_takeover
    assert extension.local_max_window_bits == 15
    assert not hasattr(extension, "decoder"), "nothing is kept between two messages"


@pytest.mark.parametrize(
    "offers",
    [
        [],
        [""],
        ["x-webkit-deflate-frame"],
        ["permessage-deflate; server_max_window_bits=10"],
        ["permessage-deflate; server_max_window_bits=99"],
        ["permessage-deflate; unknown"],
        ["permessage-deflate; =;;"],
    ],
)
def test_other_offers_are_declined(offers: list[str]) -> None:
    """A smaller window would need bytes of its own; what is malformed is no offer."""
    assert Deflate().agree(header(*offers)) is None


@pytest.mark.parametrize("size", [1, 99, 100, 200, 70_000, 200_000])
def test_frames_are_what_websockets_inflates(size: int) -> None:
    """From ``min_bytes`` on a message is compressed; it arrives as it was."""
    deflate, payload = Deflate(100), b"abcdefgh" * (size // 8) + b"x" * (size % 8)
    for made, plain in [
        (deflate.text_frame(payload), text_frame(payload)),
        (deflate.binary_frame(payload), binary_frame(payload)),
    ]:
        assert (made == plain) is (size < 100)
        assert len(made) <= len(plain)
        assert bytes(inflated(made).data) == payload
        assert made[0] & 0x0F == plain[0] & 0x0F


def test_what_does_not_shrink_goes_as_it_is() -> None:
    """Random bytes are not sent larger than they are."""
    payload = os.urandom(5_000)
    assert Deflate().binary_frame(payload) == binary_frame(payload)


def test_offers_of_strangers_do_not_fill_the_memory() -> None:
    """Answers are kept for the few offers that browsers send, not for every one that somebody makes up."""
    deflate = Deflate()
    for number in range(1_000):
        assert deflate.agree(header(f"x-{number}, permessage-deflate")) is not None
    assert len(deflate._agreements) <= 100
