"""Limits of the process, and how it listens: traps 32 to 35."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from clarion.server.doorway import PER_TURN
from clarion.server.transports import UNSENT_BYTES
from tests.support.ports import free_port
from tests.support.waiting import wait_until

from .raw_client import close, handshake, text
from .server_process import ServerProcess


def test_queued_bytes_of_the_process_are_capped(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 32: stalled readers together queue at most `max_process_queued_bytes`; who keeps up stays."""
    cap = 3_000_000
    options = json.dumps({"max_process_queued_bytes": cap, "max_queued_bytes": 1_000_000})
    server = start("--options", options, kind="launch")
    names = [f"{name}{number}" for number in range(12)]
    for one in names:
        server.dial(receive_buffer=4096).open(f"/ws/detach?name={one}")
    reader = server.open(f"/ws/detach?name={name}")
    for _ in range(400):
        server.control("broadcast", names=names, text="x" * 50_000)
        assert server.control("queued", names=names) <= cap
        if lost := [one for one in names if any(note[0] == "closed" for note in server.journal(one))]:
            break
    assert 0 < len(lost) < len(names), "only as many as it takes"
    assert all(server.wait_for(one, "closed") == ["closed", 1006, []] for one in lost)
    server.control("broadcast", names=[name], text="for the reader")
    assert reader.read_text() == "for the reader"


def test_kernel_queues_little_for_a_stalled_client(server: ServerProcess, name: str) -> None:
    """Trap 57: beyond the client's window the kernel takes 128 KiB and what its last segment holds, not megabytes."""
    server.dial(receive_buffer=4096).open(f"/ws/detach?name={name}")
    written = 0
    while not (queued := server.control("inspect", name=name)["queued_bytes"]):
        server.control("write", name=name, size=8_000)
        written += 8_004
        assert written < 20_000_000
    assert written - queued < UNSENT_BYTES + 65_536 + 4096


def test_open_files_limit_is_raised(start: Callable[..., ServerProcess]) -> None:
    """Trap 33: the soft limit of open files becomes the hard one at start."""
    server = start(files=(200, 1000))
    line = next(line for line in Path(f"/proc/{server.pid}/limits").read_text().splitlines() if "open files" in line)
    assert line.split()[3:5] == ["1000", "1000"]


def test_cap_stays_below_the_open_files(start: Callable[..., ServerProcess]) -> None:
    """Trap 33: before descriptors run out, handshakes get 503: nobody is accepted and dropped without a word."""
    server = start(files=(200, 200))
    statuses = []
    for _ in range(100):
        client = server.dial()
        statuses.append(client.upgrade("/ws/detach?kind=silent").status)
        if statuses[-1] != 101:
            client.close()
    assert set(statuses) == {101, 503}
    assert server.request("/plain").status == 200
    assert server.open_files() < 200


def test_storm_is_let_in_in_order_a_few_a_turn(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 52: of a crowd that comes at once a few are served each turn of the loop, first come first served."""
    server = start()
    server.control("count_turns")
    blocked = server.block(1.0)
    crowd = [server.dial() for _ in range(150)]
    for number, client in enumerate(crowd):
        client.send(handshake(f"/ws/detach?name={name}{number}&line={name}"))
    crowd[70].reset()
    assert blocked.read_head().status == 200
    statuses = [client.read_head().status for client in crowd if client is not crowd[70]]
    assert statuses == [101] * 149
    line = server.journal(name)
    assert [one for one, _ in line] == [f"{name}{number}" for number in range(150) if number != 70]
    assert max(Counter(turn for _, turn in line).values()) <= PER_TURN
    assert server.request("/plain").status == 200


def test_backlog_is_4096_by_default(start: Callable[..., ServerProcess]) -> None:
    """Trap 34: `-p` listens with a backlog of 4096, not Twisted's 50."""
    limit = int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert start().control("backlogs") == [min(4096, limit)]


def is_listening(pid: int) -> bool:
    """Whether a process, which must be running, listens on a TCP port."""
    return any(each.status == psutil.CONN_LISTEN for each in psutil.Process(pid).net_connections("tcp"))


def test_backlog_is_an_option(start: Callable[..., ServerProcess]) -> None:
    """Trap 34: `--backlog` sets it; two servers share a port with `--reuse-port`."""
    first = start("--backlog", "333", "--reuse-port")
    assert first.control("backlogs") == [333]
    assert not isinstance(first.address, str)
    where = ("-b", first.address[0], "-p", str(first.address[1]))
    second = start(*where, "--backlog", "333", "--reuse-port", address=first.address)
    # It was answered by the first one: the second one may still be starting.
    wait_until(lambda: is_listening(second.pid), what="the second one listens")
    loads = {first.pid: 0, second.pid: 0}
    for _ in range(60):
        client = first.open("/ws/echo")
        owner = first if first.descriptor(client) is not None else second
        loads[owner.pid] += 1
    assert all(loads.values()), loads


def test_inherited_socket_serves(start: Callable[..., ServerProcess]) -> None:
    """Trap 34: `--fd` serves a socket that somebody else bound and listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(777)
        number = listener.fileno()
        server = start("--fd", str(number), address=listener.getsockname(), pass_fds=[number])
    client = server.open("/ws/echo")
    client.send(text("inherited"))
    assert client.read_text() == "inherited"
    assert server.request("/plain").body == b"hello"
    assert server.control("backlogs") in ([777], [min(4096, int(Path("/proc/sys/net/core/somaxconn").read_text()))])


def test_endpoint_string_keeps_its_own_backlog(start: Callable[..., ServerProcess]) -> None:
    """Trap 34: what an endpoint string says is left as it is."""
    port = free_port()
    server = start("-e", f"tcp:port={port}:interface=127.0.0.1:backlog=99", address=("127.0.0.1", port))
    assert server.control("backlogs") == [99]
    assert server.open("/ws/echo")


def test_unix_socket_serves(start: Callable[..., ServerProcess], tmp_path: Path, name: str) -> None:
    """`-u` serves HTTP, consumers and detached sessions, whose frames take the fast path too."""
    path = str(tmp_path / "s")
    server = start("-u", path, address=path)
    client = server.open(f"/ws/detach?name={name}")
    server.control("write_numbers", name=name, count=50, size=20_000)
    assert [client.read_text().partition(":")[0] for _ in range(50)] == [str(number) for number in range(50)]
    echo = server.open("/ws/echo")
    echo.send(text("hi"))
    assert echo.read_text() == "hi"
    client.send(close(1000))
    assert client.read_frames()[0].close_code == 1000
    server.wait_for(name, "closed", 1000)


def test_plain_asyncio_reactor_is_refused(tmp_path: Path) -> None:
    """Trap 35: with daphne's reactor installed first, the server says so and does not start."""
    code = "import daphne.server; import clarion.server; clarion.server.Server(print, endpoints=['tcp:0']).run()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, timeout=60, text=True, check=False
    )
    assert done.returncode != 0
    assert "uvloop" in done.stderr
    assert "clarion.server" in done.stderr


def test_loop_is_uvloops(server: ServerProcess) -> None:
    """Trap 35: the reactor runs on uvloop."""
    assert server.control("counts")["loop"].startswith("uvloop")


def test_daphne_in_installed_apps_is_no_obstacle(start: Callable[..., ServerProcess]) -> None:
    """Trap 35: `daphne` in INSTALLED_APPS is no matter on the command line: our reactor comes first."""
    server = start(app="compared_apps:application", env={"COMPARED_INSTALLED": "daphne"})
    assert server.request("/hello").status == 200
