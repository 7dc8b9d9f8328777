"""permessage-deflate as a room can afford it: each message is compressed once, whoever receives it.

That takes a compressor that remembers nothing of earlier messages, and one window for all: always
``server_no_context_takeover``, never a smaller window for the server. The same is asked of the client, so that a
connection keeps no decompressor (44 KiB) between two messages. Who does not agree goes on uncompressed, and so does a
message that is small or random: an uncompressed frame is always legal.

Source: RFC 7692, section 7; ADR-0011.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from websockets.exceptions import InvalidHeaderFormat, NegotiationError
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension

from clarion.server.frames import binary_frame, frame, text_frame

MIN_BYTES: Final = 256
LEVEL: Final = 6
WINDOW_BITS: Final = 15
MEM_LEVEL: Final = 5  # as websockets': 8, zlib's default, costs 200 KiB more to set up each time

_TAIL: Final = b"\x00\x00\xff\xff"
_HEADER: Final = "sec-websocket-extensions"
_OFFERS_MAX: Final = 100


class Agreement(NamedTuple):
    """What was agreed on with one client.

    Attributes:
        header: of the 101.
        client_bits: the window of what the client sends.
    """

    header: str
    client_bits: int

    def extension(self) -> PerMessageDeflate:
        """What reads the client's messages; of one connection."""
        return PerMessageDeflate(
            remote_no_context_takeover=True,
            local_no_context_takeover=True,
            remote_max_window_bits=self.client_bits,
            local_max_window_bits=WINDOW_BITS,
        )


class Deflate:
    """The compression of one server. An application finds it in its scope's extensions as ``clarion.deflate``, if its
    client has agreed: frames that it makes with this may be shared by all those that have.

    Args:
        min_bytes: of a message that is worth it.
    """

    def __init__(self, min_bytes: int = MIN_BYTES) -> None:
        self._min_bytes = min_bytes
        self._agreements: dict[str, Agreement | None] = {}  # browsers send the same few offers

    def text_frame(self, payload: bytes) -> bytes:
        """Frame UTF-8 text, compressed if that makes it smaller."""
        packed = self._packed(payload)
        return text_frame(payload) if packed is None else frame(0xC1, packed)

    def binary_frame(self, payload: bytes) -> bytes:
        """Frame bytes, compressed if that makes them fewer."""
        packed = self._packed(payload)
        return binary_frame(payload) if packed is None else frame(0xC2, packed)

    def instead_of(self, framing: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        """Return the compressing counterpart of :func:`text_frame` or :func:`binary_frame`."""
        return self.text_frame if framing is text_frame else self.binary_frame

    def _packed(self, payload: bytes) -> bytes | None:
        if len(payload) < self._min_bytes:
            return None
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW_BITS, MEM_LEVEL)
        packed = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return packed[: -len(_TAIL)] if len(packed) - len(_TAIL) < len(payload) else None

    def agree(self, headers: Iterable[tuple[str, str]]) -> Agreement | None:
        """Answer a client's offers; None: there is none that suits."""
        offers = ", ".join(value for name, value in headers if name.lower() == _HEADER)
        if not offers:
            return None
        if offers not in self._agreements:
            if len(self._agreements) >= _OFFERS_MAX:  # made up to fill the table
                return _agreed(offers)
            self._agreements[offers] = _agreed(offers)
        return self._agreements[offers]


_FACTORY: Final = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)


def _agreed(offers: str) -> Agreement | None:
    try:
        parsed = parse_extension(offers)
    except InvalidHeaderFormat:
        return None
    for name, wanted in parsed:
        if name != _FACTORY.name:
            continue
        try:
            given, extension = _FACTORY.process_request_params(wanted, [])
        except NegotiationError:
            continue
        if extension.local_max_window_bits == WINDOW_BITS:
            return Agreement(build_extension([(name, given)]), extension.remote_max_window_bits)
    return None
