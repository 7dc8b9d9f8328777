"""Commands and replies as bytes, without a transport's framing: the JSON form, and what a form has to offer.

Source: docs/protocol.md, "Frames".
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw

from clarion.publications import Publication
from clarion.values import json_encode
from ws_gateway.events import Membership
from ws_gateway.protocol.commands import Command
from ws_gateway.protocol.replies import Reply
from ws_gateway.recovery import Kept

COMMANDS_MAX: Final = 4_096
"""Most commands of one frame. It is taken in one turn of the loop: 25 ms with so many, 3 s with a MiB of pongs."""


class FrameMalformed(ValueError):
    """These bytes are not the protocol's: close with 3501."""


class FrameCrowded(ValueError):
    """A frame of more than ``COMMANDS_MAX`` commands: close with 3013; none of them is decoded."""


class Codec(Protocol):
    """One form of the protocol.

    A publication's data travels as JSON; for a subscription with delta it travels as *text*: the JSON's UTF-8 bytes
    (in the JSON form a string that holds them), so that the next one may be a delta of these bytes.
    """

    name: str

    def commands(self, raw: bytes) -> list[Command]:
        """Decode a frame.

        Raises:
            FrameCrowded: close code 3013.
            FrameMalformed: close code 3501.
        """

    def reply(self, reply: Reply) -> bytes:
        """Encode one reply or push."""

    def kept(self, kept: list[Kept], *, as_text: bool) -> list[Raw]:
        """Publications as they stand in a reply, encoded once for all clients."""

    def publication(self, publication: Publication, *, as_text: bool, delta: bytes | None = None) -> bytes:
        """Encode the inside of a publication; ``delta`` stands in place of its data."""

    def push(self, channel: str, inside: bytes) -> bytes:
        """Wrap the inside of a publication as a push."""

    def membership(self, channel: str, event: Membership) -> bytes:
        """Encode a join or leave push."""


class JsonCodec:
    """Objects as JSON, joined by line feeds."""

    name = "json"

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(Command).decode
        self._encode = msgspec.json.Encoder().encode

    def commands(self, raw: bytes) -> list[Command]:
        """See :class:`Codec`."""
        try:
            if b"\n" not in raw:
                return [self._decode(raw)]
            return [self._decode(line) for line in _lines(raw)]
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
            raise FrameMalformed(str(exc)) from exc

    def reply(self, reply: Reply) -> bytes:
        """See :class:`Codec`."""
        return self._encode(reply)

    def kept(self, kept: list[Kept], *, as_text: bool) -> list[Raw]:
        """See :class:`Codec`."""
        if as_text:
            return [Raw(self.publication(item.publication, as_text=True)) for item in kept]
        raws = []
        for item in kept:
            if item.json is None:
                item.json = Raw(self.publication(item.publication, as_text=False))
            raws.append(item.json)
        return raws

    def publication(self, publication: Publication, *, as_text: bool, delta: bytes | None = None) -> bytes:
        """See :class:`Codec`."""
        # By hand: this is the gateway's hot path, and most fields of most publications are left out.
        data = json_encode(publication.data)
        if delta is not None:
            data = json_encode(delta.decode())
        elif as_text:
            data = json_encode(data.decode())
        inside = b'{"data":' + data
        if publication.offset:
            inside += b',"offset":%d' % publication.offset
        if publication.time:
            inside += b',"time":%d' % publication.time
        if publication.tags:
            inside += b',"tags":' + json_encode(publication.tags)
        if publication.info:
            inside += b',"info":' + json_encode(publication.info)
        if delta is not None:
            inside += b',"delta":true'
        return inside + b"}"

    def push(self, channel: str, inside: bytes) -> bytes:
        """See :class:`Codec`."""
        return b'{"push":{"channel":' + json_encode(channel) + b',"pub":' + inside + b"}}"

    def membership(self, channel: str, event: Membership) -> bytes:
        """See :class:`Codec`."""
        push: dict[str, Any] = {"channel": channel, "join" if event.is_join else "leave": {"info": event.info}}
        return json_encode({"push": push})


def _lines(raw: bytes) -> list[bytes]:
    """The lines of a frame that are not blank.

    Raises:
        FrameCrowded: too many; far too many are not even split, blank ones included.
    """
    if raw.count(b"\n") > COMMANDS_MAX:
        raise FrameCrowded
    lines = [line for line in raw.split(b"\n") if line and not line.isspace()]
    if len(lines) > COMMANDS_MAX:
        raise FrameCrowded
    return lines


JSON_CODEC: Final = JsonCodec()
