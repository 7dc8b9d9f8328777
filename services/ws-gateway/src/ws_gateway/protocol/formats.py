"""Formats: a codec in a transport's framing, and the wires on which a channel's events go out in it.

Source: docs/protocol.md, "Frames"; ADR-0007.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from clarion.publications import Publication
from clarion.server import Deflate, binary_frame, chunk, text_frame
from clarion.values import json_encode
from ws_gateway.events import Event
from ws_gateway.protocol.codec import JSON_CODEC, Codec
from ws_gateway.protocol.filters import Filter
from ws_gateway.protocol.fossil import delta_make
from ws_gateway.protocol.protobuf import PROTOBUF_CODEC
from ws_gateway.protocol.protobuf_wire import varint
from ws_gateway.protocol.subscriptions import Subscription
from ws_gateway.wires import Wire

if TYPE_CHECKING:
    from ws_gateway.groups import Group

Join: TypeAlias = Callable[[list[bytes]], bytes]
Framing: TypeAlias = Callable[[bytes], bytes]

FRAME_BYTES: Final = 65_536
"""About how much goes into one frame: a client's library may take no more than 1 MiB."""


class Format:
    """What a connection speaks.

    Attributes:
        kind: the transport and the encoding, as metrics name them.
        codec: how commands and replies are encoded.
        plain: the same without compression; itself, where there is none.
    """

    def __init__(
        self, transport: str, codec: Codec, join: Join, frame: Framing, *, plain: Format | None = None
    ) -> None:
        self.kind = (transport, codec.name)
        self.codec = codec
        self.plain = plain or self
        self._join = join
        self._frame = frame
        self._wires: dict[tuple[object, ...], Wire] = {}
        self._deflated: Format | None = None

    def frame(self, messages: list[bytes]) -> bytes:
        """Frame encoded replies for the socket."""
        return self._frame(self._join(messages))

    def deflated(self, deflate: Deflate | None) -> Format:
        """The format of who has agreed to compression (None: has not); wires of its own, so what members share is
        compressed once."""
        if deflate is None:
            return self
        if self._deflated is None:  # a process has one server
            self._deflated = Format(self.kind[0], self.codec, self._join, deflate.instead_of(self._frame), plain=self)
        return self._deflated

    def frames(self, messages: list[bytes]) -> bytes:
        """Frame messages, in several frames if they are large."""
        if len(messages) == 1 or sum(map(len, messages)) <= FRAME_BYTES:
            return self.frame(messages)
        frames, some, size = [], list[bytes](), 0
        for message in messages:
            if some and size + len(message) > FRAME_BYTES:
                frames.append(self.frame(some))
                some, size = [], 0
            some.append(message)
            size += len(message)
        frames.append(self.frame(some))
        return b"".join(frames)

    def wire(self, subscription: Subscription, *, deltas_all: bool) -> Wire:
        """The wire of a subscription; equal ones share it.

        Args:
            deltas_all: the namespace's ``delta_publish``.
        """
        key: tuple[object, ...]
        if subscription.filter is not None:
            # Not kept for ever: filters come from clients.
            key = (subscription.hears_joins, subscription.is_positioned, subscription.filter.key)
            if len(self._wires) > WIRES_MAX:
                self._wires.clear()
        else:
            key = (subscription.hears_joins, subscription.is_positioned, subscription.is_delta, deltas_all)
        wire = self._wires.get(key)
        if wire is None:
            wire = self._wires[key] = self._make(subscription, deltas_all)
        return wire

    def _make(self, subscription: Subscription, deltas_all: bool) -> Wire:
        joins, positioned = subscription.hears_joins, subscription.is_positioned
        if subscription.is_delta:
            after = DeltaWire(self, hears_joins=joins, is_positioned=positioned, deltas_all=deltas_all)
            return FirstWire(self, after)
        return ProtocolWire(self, hears_joins=joins, is_positioned=positioned, filter=subscription.filter)


WIRES_MAX: Final = 4_096


class ProtocolWire:
    """A channel's events as pushes."""

    is_delta = False
    successor: Wire | None = None

    def __init__(self, format: Format, *, hears_joins: bool, is_positioned: bool, filter: Filter | None = None) -> None:
        self.is_positioned = is_positioned
        self._format = format
        self._codec = format.codec
        self._hears_joins = hears_joins
        self._filter = filter

    def encode(self, group: Group, events: list[Event]) -> bytes:
        """See :class:`ws_gateway.wires.Wire`."""
        messages = [message for event in events if (message := self._message(group, event))]
        return self._format.frames(messages) if messages else b""

    def _message(self, group: Group, event: Event) -> bytes:
        if type(event) is Publication:
            if self._filter is not None and not self._filter.matches(event.tags):
                return b""
            return self._codec.push(group.channel, self._codec.publication(event, as_text=False))
        if self._hears_joins:
            return self._codec.membership(group.channel, event)  # type: ignore[arg-type]
        return b""


class DeltaWire(ProtocolWire):
    """Publications as deltas of the one before, which every member of this wire has."""

    is_delta = True

    def __init__(self, format: Format, *, hears_joins: bool, is_positioned: bool, deltas_all: bool) -> None:
        super().__init__(format, hears_joins=hears_joins, is_positioned=is_positioned)
        self._deltas_all = deltas_all

    def encode(self, group: Group, events: list[Event]) -> bytes:
        """See :class:`ws_gateway.wires.Wire`."""
        messages, last = [], group.last
        for event in events:
            if type(event) is Publication:
                messages.append(self._codec.push(group.channel, self._inside(last, event)))
                last = event
            elif message := self._message(group, event):
                messages.append(message)
        return self._format.frames(messages) if messages else b""

    def _inside(self, last: Publication | None, publication: Publication) -> bytes:
        if last is not None and (self._deltas_all or publication.delta):
            new = json_encode(publication.data)
            delta = delta_make(json_encode(last.data), new)
            if len(delta) < len(new):
                return self._codec.publication(publication, as_text=True, delta=delta)
        return self._codec.publication(publication, as_text=True)


class FirstWire(DeltaWire):
    """The first publication of a subscription with delta comes whole; its members go on as :class:`DeltaWire`'s."""

    def __init__(self, format: Format, successor: DeltaWire) -> None:
        super().__init__(
            format,
            hears_joins=successor._hears_joins,
            is_positioned=successor.is_positioned,
            deltas_all=successor._deltas_all,
        )
        self.successor = successor

    def _inside(self, last: Publication | None, publication: Publication) -> bytes:
        return self._codec.publication(publication, as_text=True)


def _lines(messages: list[bytes]) -> bytes:
    return messages[0] if len(messages) == 1 else b"\n".join(messages)


def _ended_lines(messages: list[bytes]) -> bytes:
    return _lines(messages) + b"\n"


def _event(messages: list[bytes]) -> bytes:
    return b"".join(b"data: " + message + b"\n" for message in messages) + b"\n"


def _prefixed(messages: list[bytes]) -> bytes:
    return b"".join(varint(len(message)) + message for message in messages)


WEBSOCKET_JSON: Final = Format("websocket", JSON_CODEC, _lines, text_frame)
WEBSOCKET_PROTOBUF: Final = Format("websocket", PROTOBUF_CODEC, _prefixed, binary_frame)
HTTP_STREAM: Final = Format("http_stream", JSON_CODEC, _ended_lines, chunk)
HTTP_STREAM_UNCHUNKED: Final = Format("http_stream", JSON_CODEC, _ended_lines, bytes)
SSE: Final = Format("sse", JSON_CODEC, _event, chunk)
SSE_UNCHUNKED: Final = Format("sse", JSON_CODEC, _event, bytes)
