"""The reconnecting socket and its back-off, on a clock and sockets of the test's own."""

from __future__ import annotations

import pytest

from tests.browser.modules import RunModule

ROOM = "const { socket, clock, made, states, messages, names } = await module.room();"


def test_socket_first_frame_is_the_hello(run_module: RunModule) -> None:
    """The connection counts as open with the hello frame, which names the gateway and is no message."""
    body = f'{ROOM} made[0].hello("gateway-2"); made[0].onmessage({{ data: "1" }}); return [states, messages];'
    states, messages = run_module("fakes", body)
    assert states == [
        {"name": "connecting", "attempt": 0},
        {"name": "open", "node": "gateway-2", "channel": "chat:lobby", "user": "1"},
    ]
    assert messages == ["1"]


@pytest.mark.parametrize("code", [1009, 4400, 4401, 4403, 4404])
def test_socket_stops_on_a_final_code(run_module: RunModule, code: int) -> None:
    """After a refusal that would be repeated, the page connects no more and no timer is left."""
    body = f'{ROOM} made[0].lose(arg, "no"); clock.pass(3_600_000); return [states.at(-1), made.length, clock.pending];'
    state, sockets, timers = run_module("fakes", body, code)
    assert state == {"name": "closed", "code": code, "reason": "no"}
    assert (sockets, timers) == (1, 0)


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 1012, 1013, 4408, 4410, 4999])
def test_socket_comes_back_after_any_other_code(run_module: RunModule, code: int) -> None:
    """A drain, a slow consumer, a lost connection and codes of the future: it waits, then connects to the same URL."""
    body = f"""{ROOM} made[0].hello(); made[0].lose(arg); const waiting = states.at(-1);
      clock.pass(1000); made[1].hello("gateway-2");
      return [waiting, names(), made.map((socket) => socket.url), clock.now()];"""
    waiting, names, urls, _ = run_module("fakes", body, code)
    assert waiting == {"name": "waiting", "attempt": 1, "retryAt": 1_000_999, "code": code, "reason": ""}
    assert names == ["connecting", "open", "waiting", "connecting", "open"]
    assert urls == ["ws://clarion.test/ws/chat:lobby/?hello=1"] * 2


def test_socket_waits_longer_until_a_connection_was_stable(run_module: RunModule) -> None:
    """A connection that is lost at once does not reset the back-off; one of five seconds does."""
    body = f"""{ROOM} const waits = [];
      const lose = () => {{
        made.at(-1).lose(1012);
        waits.push(states.at(-1).retryAt - clock.now());
        clock.pass(waits.at(-1));
      }};
      for (let i = 0; i < 7; i++) {{ made.at(-1).hello(); clock.pass(4_999); lose(); }}
      made.at(-1).hello(); clock.pass(5_000); lose();
      return waits;"""
    assert run_module("fakes", body) == [999, 1999, 3999, 7999, 15_999, 19_999, 19_999, 999]


def test_socket_gives_up_on_a_silent_gateway(run_module: RunModule) -> None:
    """A connection without a hello within ten seconds is left for another one."""
    body = f"{ROOM} clock.pass(10_000); return [states.at(-1).name, made[0].readyState, clock.pending];"
    assert run_module("fakes", body) == ["waiting", 2, 1]


def test_socket_stop_ends_every_state(run_module: RunModule) -> None:
    """Stop while connecting, open or waiting closes the socket and leaves no timer."""
    body = f"""const ends = [];
      for (const reach of [() => 0, (made) => made[0].hello(), (made) => made[0].lose(1006)]) {{
        {ROOM} reach(made); socket.stop(); clock.pass(3_600_000);
        ends.push([states.at(-1).name, made.length, clock.pending, made[0].readyState > 1]);
      }}
      return ends;"""
    assert run_module("fakes", body) == [["stopped", 1, 0, True]] * 3


def test_socket_ignores_a_socket_it_has_left(run_module: RunModule) -> None:
    """What a dropped socket still delivers or reports changes nothing."""
    body = f"""{ROOM} made[0].hello(); socket.join("ws://clarion.test/ws/chat:b/"); made[1].hello();
      made[0].onmessage({{ data: '"late"' }}); made[0].lose(1006);
      return [states.at(-1).name, messages, made.length];"""
    assert run_module("fakes", body) == ["open", [], 2]


def test_socket_wake_cuts_a_wait_short_and_nothing_else(run_module: RunModule) -> None:
    """When the network or the reader comes back, a wait ends; an open or a finally closed socket is left alone."""
    body = f"""{ROOM} made[0].lose(1006); socket.wake(); const sockets = [made.length];
      made[1].hello(); socket.wake(); sockets.push(made.length);
      made[1].lose(4401); socket.wake(); sockets.push(made.length);
      return [sockets, states.map(({{ name, attempt }}) => [name, attempt ?? null])];"""
    sockets, states = run_module("fakes", body)
    assert sockets == [2, 2, 2]
    assert states[:3] == [["connecting", 0], ["waiting", 1], ["connecting", 1]]


def test_socket_send_says_whether_it_sent(run_module: RunModule) -> None:
    """Only an open socket sends; otherwise the caller learns that nothing went out."""
    body = f"""{ROOM} const before = socket.send("1"); made[0].hello(); const during = socket.send("2");
      made[0].readyState = 2; const closing = socket.send("3");
      return [before, during, closing, made[0].sent];"""
    assert run_module("fakes", body) == [False, True, False, ["2"]]


def test_backoff_draws_from_the_whole_range(run_module: RunModule) -> None:
    """Full jitter: a wait is anywhere from nothing to the ceiling, and the ceiling doubles up to the cap."""
    body = """const low = new module.Backoff({ random: () => 0 });
      const high = new module.Backoff({ random: () => 1 - 2 ** -53 });
      const waits = (backoff) => Array.from({ length: 40 }, () => backoff.next());
      return [waits(low), waits(high), high.attempt];"""
    low, high, attempt = run_module("backoff", body)
    assert set(low) == {0}
    assert high == [999, 1999, 3999, 7999, 15_999] + [19_999] * 35
    assert attempt == 40
