"""The Protobuf form of the protocol, under the WebSocket subprotocol ``centrifuge-protobuf``.

The same fields as in JSON, by number; commands and replies are prefixed by their length. ``data`` and the infos are
bytes that hold JSON.

Source: docs/protocol.md, "Frames"; the field numbers are those of Centrifugo's published client protocol.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw

from clarion.publications import Publication
from clarion.values import json_encode
from ws_gateway.events import Membership
from ws_gateway.protocol import commands, replies
from ws_gateway.protocol.codec import COMMANDS_MAX, FrameCrowded, FrameMalformed
from ws_gateway.protocol.commands import Command
from ws_gateway.protocol.protobuf_wire import (
    Field,
    Kind,
    Malformed,
    Schema,
    decode,
    delimited,
    encode,
    read_varint,
    varint,
)
from ws_gateway.protocol.replies import Reply
from ws_gateway.recovery import Kept

UINT, INT, BOOL, TEXT, RAW = Kind.UINT, Kind.INT, Kind.BOOL, Kind.TEXT, Kind.RAW

_FILTER: Final = Schema(commands.FilterNode)
_FILTER.define(
    Field(1, "op", TEXT),
    Field(2, "key", TEXT),
    Field(3, "cmp", TEXT),
    Field(4, "val", TEXT),
    Field(5, "vals", Kind.TEXTS),
    Field(6, "nodes", Kind.MESSAGES, _FILTER),
)
_SUBSCRIBE: Final = Schema(commands.SubscribeRequest).define(
    Field(1, "channel", TEXT),
    Field(2, "token", TEXT),
    Field(3, "recover", BOOL),
    Field(6, "epoch", TEXT),
    Field(7, "offset", UINT),
    Field(8, "data", RAW),
    Field(9, "positioned", BOOL),
    Field(10, "recoverable", BOOL),
    Field(11, "join_leave", BOOL),
    Field(12, "delta", TEXT),
    Field(13, "tf", Kind.MESSAGE, _FILTER),
    Field(14, "flag", INT),
)
_CONNECT: Final = Schema(commands.ConnectRequest).define(
    Field(1, "token", TEXT),
    Field(2, "data", RAW),
    Field(3, "subs", Kind.MESSAGE_MAP, _SUBSCRIBE),
    Field(4, "name", TEXT),
    Field(5, "version", TEXT),
    Field(6, "headers", Kind.TEXT_MAP),
    Field(7, "flag", INT),
)
_POSITION: Final = Schema(commands.StreamPosition).define(Field(1, "offset", UINT), Field(2, "epoch", TEXT))
_HISTORY: Final = Schema(commands.HistoryRequest).define(
    Field(1, "channel", TEXT),
    Field(7, "limit", INT),
    Field(8, "since", Kind.MESSAGE, _POSITION),
    Field(9, "reverse", BOOL),
)


def _message(number: int, name: str, struct: Any, *fields: Field) -> Field:
    return Field(number, name, Kind.MESSAGE, Schema(struct).define(*fields))


_CHANNEL: Final = Field(1, "channel", TEXT)
_COMMAND: Final = Schema(Command).define(
    Field(1, "id", UINT),
    Field(4, "connect", Kind.MESSAGE, _CONNECT),
    Field(5, "subscribe", Kind.MESSAGE, _SUBSCRIBE),
    _message(6, "unsubscribe", commands.UnsubscribeRequest, _CHANNEL),
    _message(7, "publish", commands.PublishRequest, _CHANNEL, Field(2, "data", RAW)),
    _message(8, "presence", commands.PresenceRequest, _CHANNEL),
    _message(9, "presence_stats", commands.PresenceStatsRequest, _CHANNEL),
    Field(10, "history", Kind.MESSAGE, _HISTORY),
    _message(11, "ping", commands.PingRequest),
    _message(12, "send", commands.SendRequest, Field(1, "data", RAW)),
    _message(13, "rpc", commands.RPCRequest, Field(1, "data", RAW), Field(2, "method", TEXT)),
    _message(14, "refresh", commands.RefreshRequest, Field(1, "token", TEXT)),
    _message(15, "sub_refresh", commands.SubRefreshRequest, _CHANNEL, Field(2, "token", TEXT)),
)

_INFO: Final = Schema(replies.ClientInfo).define(
    Field(1, "user", TEXT), Field(2, "client", TEXT), Field(3, "conn_info", RAW), Field(4, "chan_info", RAW)
)
_SUBSCRIBED: Final = Schema(replies.SubscribeResult).define(
    Field(1, "expires", BOOL),
    Field(2, "ttl", UINT),
    Field(3, "recoverable", BOOL),
    Field(6, "epoch", TEXT),
    Field(7, "publications", Kind.RAWS),
    Field(8, "recovered", BOOL),
    Field(9, "offset", UINT),
    Field(10, "positioned", BOOL),
    Field(11, "data", RAW),
    Field(12, "was_recovering", BOOL),
    Field(13, "delta", BOOL),
)
_CONNECTED: Final = Schema(replies.ConnectResult).define(
    Field(1, "client", TEXT),
    Field(2, "version", TEXT),
    Field(3, "expires", BOOL),
    Field(4, "ttl", UINT),
    Field(5, "data", RAW),
    Field(6, "subs", Kind.MESSAGE_MAP, _SUBSCRIBED),
    Field(7, "ping", UINT),
    Field(8, "pong", BOOL),
    Field(9, "session", TEXT),
    Field(10, "node", TEXT),
)
_EXPIRY: Final = (Field(1, "expires", BOOL), Field(2, "ttl", UINT))
_PUSH: Final = Schema(replies.Push).define(
    Field(2, "channel", TEXT),
    _message(7, "unsubscribe", replies.Unsubscribe, Field(2, "code", UINT), Field(3, "reason", TEXT)),
    _message(8, "message", replies.Message, Field(1, "data", RAW)),
    _message(
        9,
        "subscribe",
        replies.Subscribe,
        Field(1, "recoverable", BOOL),
        Field(4, "epoch", TEXT),
        Field(5, "offset", UINT),
        Field(6, "positioned", BOOL),
        Field(7, "data", RAW),
    ),
    _message(
        11,
        "disconnect",
        replies.Disconnect,
        Field(1, "code", UINT),
        Field(2, "reason", TEXT),
        Field(3, "reconnect", BOOL),
    ),
    _message(12, "refresh", replies.Refresh, *_EXPIRY),
)
_REPLY: Final = Schema(Reply).define(
    Field(1, "id", UINT),
    _message(
        2, "error", replies.Error, Field(1, "code", UINT), Field(2, "message", TEXT), Field(3, "temporary", BOOL)
    ),
    Field(4, "push", Kind.MESSAGE, _PUSH),
    Field(5, "connect", Kind.MESSAGE, _CONNECTED),
    Field(6, "subscribe", Kind.MESSAGE, _SUBSCRIBED),
    _message(7, "unsubscribe", replies.UnsubscribeResult),
    _message(8, "publish", replies.PublishResult),
    _message(9, "presence", replies.PresenceResult, Field(1, "presence", Kind.MESSAGE_MAP, _INFO)),
    _message(
        10,
        "presence_stats",
        replies.PresenceStatsResult,
        Field(1, "num_clients", UINT),
        Field(2, "num_users", UINT),
    ),
    _message(
        11,
        "history",
        replies.HistoryResult,
        Field(1, "publications", Kind.RAWS),
        Field(2, "epoch", TEXT),
        Field(3, "offset", UINT),
    ),
    _message(12, "ping", replies.PingResult),
    _message(13, "rpc", replies.RPCResult, Field(1, "data", RAW)),
    _message(14, "refresh", replies.RefreshResult, Field(1, "client", TEXT), Field(2, "version", TEXT),
             Field(3, "expires", BOOL), Field(4, "ttl", UINT)),
    _message(15, "sub_refresh", replies.SubRefreshResult, *_EXPIRY),
)  # fmt: skip


class ProtobufCodec:
    """See :class:`ws_gateway.protocol.codec.Codec`."""

    name = "protobuf"

    def commands(self, raw: bytes) -> list[Command]:
        """Decode the length-prefixed commands of a frame."""
        try:
            found = [decode(part, _COMMAND) for part in _parts(raw)]
        except Malformed as exc:
            raise FrameMalformed(str(exc)) from exc
        if any(command.id > 2**32 - 1 for command in found):
            raise FrameMalformed("a command's id has 32 bits")
        return found

    def reply(self, reply: Reply) -> bytes:
        """Encode one reply or push, without its length."""
        return encode(reply, _REPLY)

    def kept(self, kept: list[Kept], *, as_text: bool) -> list[Raw]:
        """Publications as they stand in a reply; with delta they are the same bytes here."""
        raws = []
        for item in kept:
            if item.protobuf is None:
                item.protobuf = Raw(self.publication(item.publication, as_text=as_text))
            raws.append(item.protobuf)
        return raws

    def publication(self, publication: Publication, *, as_text: bool, delta: bytes | None = None) -> bytes:
        """Encode the inside of a publication."""
        inside = delimited(4, json_encode(publication.data) if delta is None else delta)
        if publication.info:
            inside += delimited(5, _info(publication.info))
        if publication.offset:
            inside += _OFFSET + varint(publication.offset)
        for key, value in (publication.tags or {}).items():
            inside += delimited(7, delimited(1, key.encode()) + delimited(2, value.encode()))
        if delta is not None:
            inside += _DELTA
        if publication.time:
            inside += _TIME + varint(publication.time)
        return inside

    def push(self, channel: str, inside: bytes) -> bytes:
        """Wrap the inside of a publication as a push."""
        return delimited(4, delimited(2, channel.encode()) + delimited(4, inside))

    def membership(self, channel: str, event: Membership) -> bytes:
        """Encode a join or leave push."""
        told = delimited(5 if event.is_join else 6, delimited(1, _info(event.info)))
        return delimited(4, delimited(2, channel.encode()) + told)


def _parts(raw: bytes) -> list[bytes]:
    """The commands of a frame, still encoded.

    Raises:
        FrameCrowded: too many.
        FrameMalformed: the last one is cut off.
        Malformed: a length that does not end.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(raw):
        if len(parts) == COMMANDS_MAX:
            raise FrameCrowded
        size, at = read_varint(raw, at)
        if at + size > len(raw):
            raise FrameMalformed("a command is longer than its frame")
        parts.append(raw[at : at + size])
        at += size
    return parts


_OFFSET: Final = varint(6 << 3)
_DELTA: Final = varint(8 << 3) + b"\x01"
_TIME: Final = varint(9 << 3)


def _info(info: dict[str, Any]) -> bytes:
    written = delimited(1, str(info.get("user", "")).encode()) if info.get("user") else b""
    written += delimited(2, str(info.get("client", "")).encode()) if info.get("client") else b""
    for number, name in ((3, "conn_info"), (4, "chan_info")):
        if info.get(name) is not None:
            written += delimited(number, json_encode(info[name]))
    return written


PROTOBUF_CODEC: Final = ProtobufCodec()
