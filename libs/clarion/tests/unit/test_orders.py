"""clarion.orders: what services and gateways tell each other."""

from __future__ import annotations

import msgspec
import pytest

from clarion.errors import RequestInvalid
from clarion.orders import (
    ChannelsAnswer,
    ChannelsQuestion,
    Disconnect,
    Emulation,
    Order,
    Refresh,
    Subscribe,
    Unsubscribe,
    answer_decode,
    message_encode,
    order_decode,
)
from clarion.streams import Position
from clarion.tokens import SubsOptions

ORDERS = [
    Emulation("s", b"\xff\x00"),
    Disconnect(user="7", code=4000, reason="go", whitelist=["c1"]),
    Unsubscribe(user="", channel="chat:x"),
    Subscribe(user="7", channel="chat:x", options=SubsOptions(info={"a": []}), since=Position(3, "e"), expires_at=9),
    Refresh(user="7", client="c", session="s", info=[1, None]),
    ChannelsQuestion("id", "chat:*"),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
def test_orders_arrive_as_they_left(order: Order) -> None:
    """Each is a map with its kind, and all of its fields come back."""
    payload = message_encode(order)
    assert msgspec.msgpack.decode(payload)["kind"]
    assert order_decode(payload) == order


def test_orders_of_a_newer_service_are_understood() -> None:
    """A field that is not known here is passed over: services and gateways are not restarted in one moment."""
    newer = {"kind": "disconnect", "user": "7", "code": 3500, "reason": "", "since": "v2"}
    assert order_decode(msgspec.msgpack.encode(newer)) == Disconnect(user="7", code=3500, reason="")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"nonsense",
        msgspec.msgpack.encode({"user": "7"}),
        msgspec.msgpack.encode({"kind": "reboot"}),
        msgspec.msgpack.encode({"kind": "disconnect", "user": 7, "code": 4000, "reason": ""}),
        msgspec.msgpack.encode({"kind": "disconnect", "code": 4000, "reason": ""}),
        msgspec.msgpack.encode({"kind": "disconnect", "user": "7", "code": 1000, "reason": ""}),
        msgspec.msgpack.encode({"kind": "disconnect", "user": "7", "code": 5000, "reason": ""}),
        msgspec.msgpack.encode([1]),
        b"\x91" * 100_000,
    ],
)
def test_anything_else_is_no_order(payload: bytes) -> None:
    """Whoever has the Redis may send anything: one error, whatever it is."""
    with pytest.raises(RequestInvalid):
        order_decode(payload)
    with pytest.raises(RequestInvalid):
        answer_decode(payload)


def test_answers_arrive_as_they_left() -> None:
    """A part of a gateway's channels."""
    answer = ChannelsAnswer("node", {"chat:x": 3}, is_last=True)
    assert answer_decode(message_encode(answer)) == answer
