"""ws_gateway.protocol.protobuf: what Google's library writes we read, and what we write it reads."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from centrifuge.protocol import client_pb2
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from clarion.publications import Publication
from tests.support.protocol_session import Driver
from ws_gateway.events import Membership
from ws_gateway.protocol.codec import JSON_CODEC, FrameMalformed
from ws_gateway.protocol.commands import Command
from ws_gateway.protocol.protobuf import PROTOBUF_CODEC
from ws_gateway.protocol.protobuf_wire import varint
from ws_gateway.protocol.replies import Reply
from ws_gateway.recovery import Kept

PUBLICATION = Publication(
    data={"a": [1, {}]},
    offset=2**40,
    epoch="e",
    time=1_732_139_999_999,
    tags={"room": "ä"},
    info={"user": "u", "client": "c", "conn_info": {"x": []}},
)


def framed(*commands: Any) -> bytes:
    """Commands of Google's library as a frame."""
    raws = [command.SerializeToString() for command in commands]
    return b"".join(varint(len(raw)) + raw for raw in raws)


def read(raw: bytes) -> dict[str, Any]:
    """A reply of ours, read by Google's library."""
    reply = client_pb2.Reply()
    reply.ParseFromString(raw)
    found: dict[str, Any] = MessageToDict(reply, preserving_proto_field_name=True)
    return found


def test_commands_are_read_in_every_field() -> None:
    """Text, numbers of every size, maps, nested messages, several in a frame."""
    connect = client_pb2.Command(id=2**32 - 1)
    connect.connect.token = "t"
    connect.connect.subs["kept:ä"].offset = 2**64 - 1
    connect.connect.subs["kept:ä"].recover = True
    connect.connect.headers["x"] = "y"
    history = client_pb2.Command(id=2)
    history.history.limit = -1
    history.history.since.epoch = "e"
    subscribe = client_pb2.Command(id=3)
    subscribe.subscribe.tf.op = "and"
    subscribe.subscribe.tf.nodes.add(key="k", cmp="in", vals=["a", "b"])
    first, second, third = PROTOBUF_CODEC.commands(framed(connect, history, subscribe))
    assert first.connect is not None
    assert (first.id, first.connect.token, first.connect.headers) == (2**32 - 1, "t", {"x": "y"})
    assert (first.connect.subs["kept:ä"].offset, first.connect.subs["kept:ä"].recover) == (2**64 - 1, True)
    assert second.history is not None
    assert second.history.since is not None
    assert (second.history.limit, second.history.since.epoch) == (-1, "e")
    assert third.subscribe is not None
    assert third.subscribe.tf is not None
    assert third.subscribe.tf.nodes[0].vals == ["a", "b"]


def test_data_is_read_as_json() -> None:
    """Bytes fields hold JSON, as in the other form."""
    publish = client_pb2.Command(id=1)
    publish.publish.channel = "x"
    publish.publish.data = b'{"a":1}'
    [command] = PROTOBUF_CODEC.commands(framed(publish))
    assert command.publish is not None
    assert bytes(command.publish.data) == b'{"a":1}'


@pytest.mark.parametrize("method", [name for name in Command.__struct_fields__ if name != "id"])
def test_every_method_is_known(method: str) -> None:
    """An empty request is one, too."""
    command = client_pb2.Command(id=1)
    getattr(command, method).SetInParent()
    [found] = PROTOBUF_CODEC.commands(framed(command))
    assert getattr(found, method) is not None


def test_replies_say_the_same_in_both_forms() -> None:
    """Everything that a session says in its life, field by field."""
    driver = Driver()
    outs: list[Reply] = []

    def take() -> None:
        outs.extend(out for out in driver.session.take() if isinstance(out, Reply))

    for request in (
        {"connect": {"token": "x.y"}},
        {"ping": {}},
    ):
        driver.session.command(msgspec.convert({"id": 1, **request}, Command), driver.now)
        take()
    driver = Driver()
    driver.connect()
    for request in ({"subscribe": {"channel": "nope:x"}}, {"ping": {}}, {"refresh": {"token": ""}}):
        driver.session.command(msgspec.convert({"id": 7, **request}, Command), driver.now)
        take()
    assert len(outs) >= 2
    for reply in outs:
        assert read(PROTOBUF_CODEC.reply(reply)) == msgspec.json.decode(JSON_CODEC.reply(reply))


def test_publications_say_the_same_in_both_forms() -> None:
    """Live as a push, and in a reply."""
    [kept] = PROTOBUF_CODEC.kept([Kept(PUBLICATION)], as_text=False)
    pushed = read(PROTOBUF_CODEC.push("kept:ä", PROTOBUF_CODEC.publication(PUBLICATION, as_text=False)))
    publication = client_pb2.Publication()
    publication.ParseFromString(bytes(kept))
    assert MessageToDict(publication, preserving_proto_field_name=True) == pushed["push"]["pub"]
    assert publication.data == b'{"a":[1,{}]}'
    assert (publication.offset, publication.time, dict(publication.tags)) == (2**40, PUBLICATION.time, {"room": "ä"})
    assert (publication.info.user, publication.info.conn_info) == ("u", b'{"x":[]}')
    assert pushed["push"]["channel"] == "kept:ä"
    delta = client_pb2.Publication()
    delta.ParseFromString(PROTOBUF_CODEC.publication(PUBLICATION, as_text=True, delta=b"1\n1:x1;"))
    assert (delta.delta, delta.data) == (True, b"1\n1:x1;")


def test_joins_and_leaves_are_told() -> None:
    """With the infos as JSON."""
    info = {"user": "u", "client": "c", "chan_info": 1}
    for is_join in (True, False):
        push = read(PROTOBUF_CODEC.membership("x", Membership(is_join, info)))["push"]
        assert push["join" if is_join else "leave"]["info"]["user"] == "u"


@pytest.mark.parametrize(
    "raw",
    [
        b"\x05",
        b"\x01",
        b"\x02\x08",
        b"\xff" * 11,
        framed(client_pb2.Command(id=1))[:-1],
        b"\x02\x0b\x00",
        b"\x04\x22\x02\x0a\x05",
        b"\x05\x22\x03\x0a\x01\xff",
        b"\x02\x20\x01",
    ],
)
def test_malformed_frames_are_refused(raw: bytes) -> None:
    """Truncated, endless numbers, unknown types, text that is not UTF-8, a number where a message is due."""
    with pytest.raises(FrameMalformed):
        PROTOBUF_CODEC.commands(raw)


def test_nesting_is_bounded() -> None:
    """A filter in a filter in a filter …"""
    inner = b""
    for _ in range(100):
        inner = b"\x32" + varint(len(inner)) + inner
    subscribe = b"\x6a" + varint(len(inner)) + inner
    command = b"\x2a" + varint(len(subscribe)) + subscribe
    with pytest.raises(FrameMalformed):
        PROTOBUF_CODEC.commands(varint(len(command)) + command)


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Never another exception."""
    with contextlib.suppress(FrameMalformed):
        PROTOBUF_CODEC.commands(raw)
