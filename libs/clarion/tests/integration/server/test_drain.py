"""How clients are sent away: the wait, the pace, what is in flight, further signals, and shedding a share."""

from __future__ import annotations

import json
import selectors
import signal
import socket
import time
from collections.abc import Callable

import pytest

from tests.support.waiting import wait_until

from .raw_client import RawClient, close, handshake, text
from .server_process import ServerProcess
from .test_d_shutdown import finish

Start = Callable[..., ServerProcess]


def crowd(server: ServerProcess, name: str, size: int) -> list[RawClient]:
    """Detached sessions that nobody pings."""
    return [server.open(f"/ws/detach?ping=false&name={name}{number}") for number in range(size)]


def told_after(clients: list[RawClient], since: float, deadline_s: float = 40.0) -> list[float]:
    """When each client was told, seconds since a moment; each answers its Close."""
    times = []
    with selectors.DefaultSelector() as ready:
        for client in clients:
            ready.register(client.stream, selectors.EVENT_READ, client)
        while ready.get_map():
            found = ready.select(deadline_s)
            assert found, f"{len(ready.get_map())} clients were never told"
            for key, _ in found:
                times.append(time.monotonic() - since)
                ready.unregister(key.fileobj)
                code = key.data.read_close().close_code
                assert code == 1012
                key.data.send(close(code))
    return sorted(times)


def still_open(clients: list[RawClient]) -> list[RawClient]:
    """Those to whom nothing has been said."""
    with selectors.DefaultSelector() as ready:
        for client in clients:
            ready.register(client.stream, selectors.EVENT_READ, client)
        spoken_to = {id(key.data) for key, _ in ready.select(0)}
    return [client for client in clients if id(client) not in spoken_to]


def echoes(client: RawClient, word: str) -> bool:
    client.send(text(f"echo {word}"))
    return client.read_text() == word


# The pace


def test_drain_tells_clients_over_its_time(start: Start, name: str) -> None:
    """300 clients over 3 s: neither all at once nor in two bursts, the last one near the end; exit code 0."""
    server = start("--drain", "3")
    clients = crowd(server, name, 300)
    began = time.monotonic()
    server.signal()
    times = told_after(clients, began)
    assert server.wait() == 0
    assert times[-1] - times[0] > 2.2, times[::30]
    most = max(sum(1 for other in times if 0 <= other - each < 0.5) for each in times)
    assert most < 150, times[::30]  # 50 at an even pace; a machine that is busy elsewhere makes up for it at once


def test_drain_of_few_takes_no_time(start: Start, name: str) -> None:
    """Less than 100 a second are no crowd: 20 clients are told at once, whatever the drain's time."""
    server = start("--drain", "60")
    began = time.monotonic()
    clients = crowd(server, name, 20)
    server.signal()
    told_after(clients, began)
    assert server.wait() == 0
    assert time.monotonic() - began < 15


def test_clients_that_wait_for_their_turn_are_served(start: Start, name: str) -> None:
    """Whoever has not been told yet is answered as ever, though the port is closed."""
    server = start("--drain", "6")
    clients = crowd(server, name, 600)
    server.signal()
    left = wait_until(lambda: found if len(found := still_open(clients)) < 590 else [], what="some have been told")
    assert len(left) > 300
    assert isinstance(server.address, tuple)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address, 5).close()
    served = 0
    for client in left[-50:]:
        client.send(text("echo still here"))
        served += (found := client.read_frame()) is not None and found.payload == b"still here"
    assert served > 30, "a few may have had their turn meanwhile"
    server.signal()
    for client in clients:
        client.close()
    assert server.wait() == 0


# The wait


def test_drain_waits_for_the_balancer(start: Start, name: str) -> None:
    """`on_drain` is called at once; until the wait is over clients come in and are served, then the port is closed."""
    options = {"drain_wait_s": 3.0, "drain_s": 0.0}
    server = start("--options", json.dumps(options), kind="launch")
    client = server.open(f"/ws/detach?name={name}")
    began = time.monotonic()
    server.signal()
    wait_until(lambda: "on_drain: draining=True" in server.log, what="readiness can be told")
    second = server.open(f"/ws/detach?name={name}b")
    assert echoes(client, "here")
    assert echoes(second, "here, too")
    assert time.monotonic() - began < 2.9, "the machine is too busy for this test"
    assert server.request("/plain").body == b"hello"
    assert client.read_close().close_code == second.read_close().close_code == 1012
    assert time.monotonic() - began > 2.9
    for each in (client, second):
        each.send(close(1012))
    assert server.wait() == 0


# A second signal, and a third


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_hurries(start: Start, name: str, number: signal.Signals) -> None:
    """No wait and no pace any more, but everybody is told, every handler runs, and the exit code is 0."""
    server = start("--drain-wait", "60", "--drain", "60")
    clients = crowd(server, name, 300)
    consumer = server.open(f"/ws/slow_end?name={name}&seconds=0.3")
    began = time.monotonic()
    server.signal()
    wait_until(lambda: "leaving" in server.log, what="the wait has begun")
    server.signal(number)
    told_after([*clients, consumer], began)
    assert server.wait() == 0
    assert time.monotonic() - began < 25
    assert f"{name}: handler ended" in server.log


def test_a_second_signal_hurries_the_pace(start: Start, name: str) -> None:
    """Also in the midst of it."""
    server = start("--drain", "60")
    clients = crowd(server, name, 800)
    server.signal()
    wait_until(lambda: len(still_open(clients)) < 800, what="some have been told")
    began = time.monotonic()
    server.signal()
    assert told_after(clients, began)[-1] < 5, "eight at its pace"
    assert server.wait() == 0


def test_a_third_signal_ends_the_process(start: Start, name: str) -> None:
    """Whoever insists does not wait for anything: the exit code is the signal's."""
    server = start("--drain-wait", "60", "--application-close-timeout", "60")
    client = server.open(f"/ws/slow_end?name={name}&seconds=60")
    server.signal()
    wait_until(lambda: "leaving" in server.log, what="the wait has begun")
    server.signal()
    client.read_close()
    server.signal()
    assert server.wait(4) == 128 + signal.SIGTERM


def test_a_signal_behind_a_request_does_not_hurry(start: Start, name: str) -> None:
    """Who asked by a call and then sends SIGTERM, as orchestrators do, gets wait and pace; the next one hurries."""
    server = start("--drain-wait", "60")
    client = server.open(f"/ws/detach?name={name}")
    server.control("leave")
    wait_until(lambda: "leaving" in server.log, what="the wait has begun")
    answer = server.request("/control/leave", method="POST", body=b"{}")
    assert (answer.status, answer.body) == (500, b"DrainUnderWay()")
    server.signal()
    wait_until(lambda: "draining already" in server.log, what="the signal is seen")
    assert echoes(client, "still served")
    server.signal()
    assert finish(client)[0].close_code == 1012
    client.close()
    assert server.wait() == 0


# What is in flight


def test_drain_waits_for_a_consumers_answer(start: Start, name: str) -> None:
    """A consumer that works on a message answers it; the client is told behind the answer."""
    server = start("--drain", "0")
    client = server.open(f"/ws/slow_answer?name={name}&seconds=1")
    for word in ("one", "two"):
        client.send(text(word))
    server.wait_for(name, "working")
    server.signal()
    assert client.read_text() == "answer to one"
    assert client.read_text() == "answer to two"
    assert finish(client)[0].close_code == 1012
    client.close()
    assert server.wait() == 0


def test_drain_waits_for_what_a_session_owes(start: Start, name: str) -> None:
    """A session whose `drain_wait` says so is asked again, and told once it owes nothing."""
    server = start("--drain", "0")
    client = server.open(f"/ws/detach?drain=owes&name={name}")
    server.open(f"/ws/detach?drain=waits&name={name}2")
    server.control("shed", share=1)
    server.wait_for(name, "asked")
    assert client.is_silent()
    server.control("write", name=name, text="what was owed")
    server.control("open_gate", name=name)
    assert client.read_text() == "what was owed"
    assert client.read_text() == "goodbye"
    assert client.read_close().close_code == 1012


def test_drain_does_not_wait_for_ever(start: Start, name: str) -> None:
    """Five seconds at most: then the client is told all the same."""
    server = start("--drain", "0")
    client = server.open(f"/ws/detach?drain=owes&name={name}")
    began = time.monotonic()
    server.signal()
    assert client.read_text() == "goodbye"
    assert 4.5 < time.monotonic() - began < 15
    finish(client)
    client.close()
    assert server.wait() == 0


def test_what_is_on_its_way_arrives_before_the_goodbye(start: Start, name: str) -> None:
    """`on_goodbye` is awaited before clients are told: what it delivers stands before the Close."""
    server = start(kind="launch")
    client = server.open(f"/ws/detach?name={name}")
    server.control("publish_late", name=name, text="published before")
    server.signal()
    assert client.read_text() == "published before"
    assert finish(client)[0].close_code == 1012
    client.close()
    assert server.wait() == 0


def test_a_hook_that_hangs_holds_nobody(start: Start, name: str) -> None:
    """It is given up after a fifth of a second, once, whatever the number of clients."""
    server = start("--options", json.dumps({"drain_s": 0.0}), kind="launch")
    clients = crowd(server, name, 300)
    server.control("open_gate", name="hang")
    began = time.monotonic()
    server.signal()
    told_after(clients, began)
    assert server.wait() == 0
    assert time.monotonic() - began < 15
    assert server.log.count("without waiting for what is on its way") == 1


def test_large_reply_under_way_completes(start: Start, name: str) -> None:
    """A reply that takes longer than a close handshake may goes out whole, for it moves; the Close stands behind it."""
    server = start("--drain", "0", "--drain-grace", "60")
    client = server.dial(receive_buffer=4096).open(f"/ws/detach?name={name}")
    queued, _ = server.control("write_large", name=name, count=300, size=60_000)
    assert queued > 5_000_000
    server.signal()
    began = time.monotonic()
    for number in range(300):
        while time.monotonic() - began < 7 * number / 300:  # a slow line: over 5 s in all
            time.sleep(0.01)
        assert client.read_text() == f"{number}:" + "x" * (number * 7919 % 60_000)
    assert finish(client)[0].close_code == 1012
    client.close()
    assert server.wait() == 0


def test_who_has_just_connected_is_answered(start: Start, name: str) -> None:
    """Connections that the kernel took before the port closed are accepted, and told 503: none is reset."""
    server = start(kind="launch")
    server.control("open_gate", name="block")
    server.signal()
    wait_until(lambda: "on_drain" in server.log, what="its loop stands still, at the beginning of the drain")
    late = [server.dial() for _ in range(1000)]
    for number, client in enumerate(late):
        client.send(handshake(f"/ws/detach?name={name}{number}"))
    for client in late:
        status = client.read_head().status
        assert status in (101, 503)
        if status == 101:
            assert client.read_close().close_code == 1012
        client.close()
    assert server.wait() == 0


# A share of them


def test_sigusr2_sheds_a_share(start: Start, name: str) -> None:
    """Half of the clients are told, the others stay and are served, new ones come in; it can be done again."""
    server = start("--drain", "1", "--shed-share", "0.5")
    clients = crowd(server, name, 41)
    server.signal(signal.SIGUSR2)
    wait_until(lambda: "shedding is done" in server.log, what="the shedding is done")
    left = still_open(clients)
    assert len(left) == 20
    for client in clients:
        if client not in left:
            assert client.read_close().close_code == 1012
            client.send(close(1012))
    assert all(echoes(client, "stays") for client in left)
    assert echoes(server.open(f"/ws/detach?name={name}new"), "comes")
    server.signal(signal.SIGUSR2)
    wait_until(lambda: server.log.count("shedding is done") == 2, what="the second shedding is done")
    server.signal()
    for client in left:
        client.read_close()
        client.close()
    assert server.wait() == 0


def test_one_shedding_at_a_time(start: Start, name: str) -> None:
    """A signal that comes amid one is ignored and logged; the drain ends it and tells all that are left."""
    server = start("--drain", "30")
    clients = crowd(server, name, 200)
    server.signal(signal.SIGUSR2)
    wait_until(lambda: "shedding 100 of 200" in server.log, what="it has begun")
    server.signal(signal.SIGUSR2)
    wait_until(lambda: "SIGUSR2 is ignored" in server.log, what="the second one is refused")
    began = time.monotonic()
    server.signal()
    wait_until(lambda: "draining" in server.log, what="the drain has begun")
    server.signal()
    told_after(clients, began)
    assert server.wait() == 0


def test_a_share_is_over_0_and_at_most_1(start: Start) -> None:
    """The command line refuses others."""
    for share in ("0", "1.5", "x", "nan"):
        server = start("--shed-share", share, ready=False)
        assert server.wait() == 2
        assert "--shed-share" in server.log
