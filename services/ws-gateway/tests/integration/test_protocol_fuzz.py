"""ws_gateway.protocol under 10,000 random and mutated frames: known codes, no traceback, no stuck session.

No socket is needed, but half a minute: too long for the unit tests.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarion.codes import DisconnectCode, ErrorCode
from clarion.tokens import token_make
from tests.support.protocol_session import SECRET, Driver
from ws_gateway.protocol.codec import JSON_CODEC, Codec, FrameMalformed
from ws_gateway.protocol.commands import METHODS
from ws_gateway.protocol.effects import Call, Close, Identify, Join, Leave, Publish, ReadHistory, ReadPresence
from ws_gateway.protocol.protobuf import PROTOBUF_CODEC
from ws_gateway.protocol.replies import HistoryResult, Reply, SubscribeResult

TOKEN = token_make(SECRET, "alice", ttl_s=100_000)[0]
FRAMES_EACH = 20

ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CHANNELS = st.sampled_from(["open:x", "kept:x", "closed:x", "nope:x", "#alice", "#bob", "", "a b", "x" * 300])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "channel": CHANNELS | ANY,
        "token": st.sampled_from(["", TOKEN, "x.y.z", "." * 50]) | ANY,
        "data": ANY,
        "recover": st.booleans() | ANY,
        "offset": st.integers(0, 10) | ANY,
        "epoch": st.text(max_size=5),
        "limit": st.integers(-5, 5) | ANY,
        "since": ANY,
        "method": st.sampled_from(["echo", "nope"]) | ANY,
        "tf": ANY,
        "delta": st.sampled_from(["fossil", "x"]) | ANY,
        "subs": ANY,
    },
)
COMMANDS = st.dictionaries(st.sampled_from(METHODS) | st.text(max_size=8), FIELDS | ANY, max_size=2).flatmap(
    lambda methods: st.integers(0, 3).map(lambda number: {"id": number, **methods})
)


def encoded(value: Any) -> bytes:
    """A command as JSON, as far as there is such JSON."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, UnicodeError):
        return repr(value).encode("utf-8", "replace")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A frame with some bytes changed, cut or doubled."""
    raw = bytearray(b"\n".join(encoded(command) for command in draw(st.lists(COMMANDS, min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        kind = draw(st.sampled_from(["set", "cut", "double", "nest"]))
        if kind == "set":
            raw[at : at + 1] = draw(st.binary(min_size=1, max_size=2))
        elif kind == "cut":
            del raw[at : at + draw(st.integers(1, 20))]
        elif kind == "double":
            raw[at:at] = raw[at : at + 10]
        else:
            raw[at:at] = b'{"a":' * 50 + b"[" * 2_000
    return bytes(raw)


FRAMES = st.lists(mutated() | st.binary(max_size=60), min_size=FRAMES_EACH, max_size=FRAMES_EACH)


def answer(driver: Driver, effect: Any) -> None:
    """Give an effect a result, as a gateway would."""
    session = driver.session
    if isinstance(effect, Join):
        session.joined(effect, SubscribeResult(epoch="e", offset=1), driver.now)
    elif isinstance(effect, Publish):
        session.published(effect, None)
    elif isinstance(effect, ReadHistory):
        session.history_read(effect, HistoryResult(epoch="e", offset=1))
    elif isinstance(effect, ReadPresence):
        session.presence_read(effect, (1, 1) if effect.is_stats else {})
    elif isinstance(effect, Call):
        session.called(effect, b"null")
    else:
        assert isinstance(effect, (Leave, Close, Identify))


def feed(driver: Driver, codec: Codec, frame: bytes) -> list[Reply]:
    """Give a frame to the session and do what it wants; returns what it said."""
    said: list[Reply] = []
    try:
        for command in codec.commands(frame):
            driver.session.command(command, driver.now)
    except FrameMalformed:
        driver.session.close(DisconnectCode.BAD_REQUEST)
    while outs := driver.session.take():
        for out in outs:
            if isinstance(out, Reply):
                codec.reply(out)
                said.append(out)
            else:
                answer(driver, out)
    return said


@pytest.mark.parametrize("codec", [JSON_CODEC, PROTOBUF_CODEC], ids=["json", "protobuf"])
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames=FRAMES)
def test_any_frames_get_known_codes(codec: Codec, frames: list[bytes]) -> None:
    """A closed session says nothing; an open one still answers a ping; nobody else's channel is ever joined."""
    driver = Driver()
    for frame in frames:
        if driver.session.is_closed:
            driver = Driver()
        if not driver.session.is_connected:
            driver.connect("alice")
        for reply in feed(driver, codec, frame):
            if reply.error is not None:
                assert ErrorCode(reply.error.code)
        assert "#bob" not in driver.session.subscriptions
        assert "closed:x" not in driver.session.subscriptions
        if not driver.session.is_closed:
            driver.now += 60  # so that the limit on commands is not what is tested
            assert [set(reply) for reply in driver.send(ping={})] == [{"id", "ping"}]
