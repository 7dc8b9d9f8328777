"""`make up` and `make down`: what a developer is promised, with real processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys

import httpx
import psutil
import pytest

from tests.support.product import ROOT, Product
from tests.support.waiting import wait_until
from tests.support.websocket import room_join, wait_closed

pytestmark = pytest.mark.timeout(400)

_SECRET = "dev-a-secret-that-nobody-may-see-0123456789"


def test_up_tells_how_to_reach_it_in_dev_json(own_product: Product) -> None:
    """dev.json holds exactly the promised keys, for its owner alone; the key and the password in it work."""
    own_product.start()
    dev = own_product.dev
    assert list(dev) == [
        "url",
        "api_key",
        "token_secret",
        "admin",
        "http_api",
        "gateways",
        "http_api_internal",
        "notifier_internal",
        "gateways_internal",
        "redis_url",
        "layer_prefix",
    ]
    assert set(dev["admin"]) == {"id", "username", "password"}
    assert isinstance(dev["admin"]["id"], str)
    assert dev["url"] == own_product.url
    assert len(dev["gateways"]) == len(dev["gateways_internal"]) == 2
    assert dev["token_secret"].startswith("dev-")
    for path in (own_product.run_dir / "dev.json", own_product.run_dir / "state.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    own_product.publish("chat:x", {"n": 1})
    for address in [dev["http_api"], *dev["gateways"], dev["notifier_internal"], *dev["gateways_internal"]]:
        assert httpx.get(f"{address}/health/ready", trust_env=False).status_code == 200
    for address in [dev["http_api_internal"], dev["notifier_internal"], *dev["gateways_internal"]]:
        assert "clarion_build_info" in httpx.get(f"{address}/metrics", trust_env=False).text
    assert own_product.stop() == 0


def test_up_keeps_ports_key_and_admin_over_restarts(own_product: Product) -> None:
    """A second start finds the same dev.json: scripts that read it go on working."""
    own_product.start()
    first = own_product.dev
    assert own_product.stop() == 0
    own_product.start()
    assert own_product.dev == first
    own_product.publish("chat:x", {"n": 1})
    assert own_product.stop() == 0


def test_up_refuses_to_run_twice_in_one_folder(own_product: Product) -> None:
    """A second one says that it is running already, ends non-zero, and leaves the first alone."""
    own_product.start()
    pids = sorted(process.pid for process in own_product.processes())
    second = _up(own_product)
    assert second.returncode != 0
    assert "running already" in second.stdout
    assert sorted(process.pid for process in own_product.processes()) == pids
    assert own_product.stop() == 0


def test_up_says_which_port_is_taken_and_by_whom(own_product: Product) -> None:
    """A taken port is named with its holder and the way out, before anything starts."""
    own_product.env["CLARION_TOKEN_SECRET"] = _SECRET
    with socket.create_server(("127.0.0.1", own_product.port)):
        done = _up(own_product)
    assert done.returncode != 0
    assert f"port {own_product.port} is taken" in done.stdout
    assert f"process {os.getpid()}" in done.stdout
    assert re.search(
        rf"CLARION_PORT=\d+ .*CLARION_RUN_DIR={re.escape(str(own_product.run_dir))} .*make up", done.stdout
    )
    assert "CLARION_TOKEN_SECRET=... " in done.stdout
    assert "CLARION_GATEWAYS=2 " in done.stdout
    assert _SECRET not in done.stdout
    assert not own_product.processes()
    assert not (own_product.run_dir / "supervisord.conf").exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CLARION_PORT", "http", "CLARION_PORT"),
        ("CLARION_GATEWAYS", "0", "CLARION_GATEWAYS"),
        ("CLARION_CONFIG", "/nowhere/clarion.toml", "CLARION_CONFIG: there is no file"),
    ],
)
def test_up_names_the_variable_that_is_wrong(own_product: Product, name: str, value: str, said: str) -> None:
    """A wrong variable is named, and nothing starts."""
    own_product.env[name] = value
    done = _up(own_product)
    assert done.returncode == 78
    assert said in done.stderr
    assert not own_product.processes()


def test_up_refuses_a_broken_clarion_toml_before_anything_else(own_product: Product) -> None:
    """Its problems are told with exit code 78, no database is prepared; `make down` does not mind."""
    broken = own_product.folder / "clarion.toml"
    broken.write_text("[channel]\nnamespaces = 3\n")
    own_product.env["CLARION_CONFIG"] = str(broken)
    done = _up(own_product)
    assert done.returncode == 78
    assert done.stdout == ""
    assert done.stderr.startswith(f"CLARION_CONFIG: {broken}: ")
    assert not own_product.run_dir.exists()
    assert own_product.down().returncode == 0


def test_up_gives_up_on_a_service_that_refuses_its_configuration(own_product: Product) -> None:
    """A service that cannot run ends the start with its name and its reason, and leaves no process."""
    own_product.env["CLARION_NOTIFIER_BATCH"] = "many"  # the notifier's alone: no database command reads it
    done = _up(own_product)
    assert done.returncode == 78
    assert "Clarion cannot start: notifier refuses its configuration" in done.stdout
    assert "CLARION_NOTIFIER_BATCH" in done.stdout
    assert not own_product.processes()


def test_up_ends_with_78_if_the_database_commands_refuse_their_configuration(own_product: Product) -> None:
    """What passes through to every service is refused while the database is prepared."""
    own_product.env["CLARION_LOG_LEVEL"] = "LOUD"
    done = _up(own_product)
    assert done.returncode == 78
    assert "CLARION_LOG_LEVEL" in done.stdout
    assert not own_product.processes()


def test_up_runs_as_many_gateways_as_asked_for(own_product: Product) -> None:
    """CLARION_GATEWAYS=3 runs three, each on its own port and ready."""
    own_product.env["CLARION_GATEWAYS"] = "3"
    own_product.start()
    gateways = own_product.dev["gateways"]
    assert len(set(gateways)) == 3
    for gateway in gateways:
        assert httpx.get(f"{gateway}/health/ready", trust_env=False).status_code == 200
    assert own_product.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_up_stops_everything_on_a_signal(own_product: Product, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end it with 0 and no process left; a client is told by 1012 to come back."""
    own_product.start()
    started = own_product.tree()
    assert len(started) >= 9  # supervisor, redis, nginx and its workers, http-api and its worker, gateways, notifier
    connection = await room_join(own_product.url, "chat:x", own_product.token("u1"))
    assert own_product.up
    own_product.up.send_signal(number)
    code, _ = await wait_closed(connection)
    assert code == 1012
    assert own_product.stop(number) == 0
    assert "Clarion has stopped" in own_product.text
    assert not own_product.processes()
    assert not _living(started)


def test_up_restarts_what_dies_on_the_same_port(own_product: Product) -> None:
    """Every program that is killed is back on its port and the whole works again, workers of a dead nginx gone."""
    own_product.start()
    before = own_product.dev
    for program in ("gateway-1", "http-api", "notifier", "nginx", "redis"):
        below = psutil.Process(own_product.pid(program)).children(recursive=True)
        pid = own_product.kill(program)
        own_product.wait_restarted(program, pid)
        wait_until(lambda below=below: not _living(below), what=f"what {program} had started is gone")
    for address in [before["http_api"], *before["gateways"]]:
        wait_until(lambda address=address: _is_ready(f"{address}/health/ready"), what=f"{address} is ready again")
    wait_until(lambda: _is_ready(f"{own_product.url}/health/ready"), what="nginx serves again")
    own_product.publish("chat:x", {"n": 1})
    assert own_product.dev == before
    assert own_product.stop() == 0


def test_up_ends_when_its_supervisor_was_killed(own_product: Product) -> None:
    """Nothing watches any more: what was left is stopped and the exit code says so."""
    own_product.start()
    os.kill(own_product.supervisor_pid(), signal.SIGKILL)
    assert own_product.up
    assert own_product.up.wait(90) == 1
    assert not own_product.processes()


def test_down_stops_what_a_killed_up_left(own_product: Product) -> None:
    """kill -9 of `make up` leaves the product running; `make down` ends it, and says when there is nothing to end."""
    own_product.start()
    assert own_product.up
    own_product.up.kill()
    own_product.up.wait()
    assert own_product.processes()
    done = own_product.down()
    assert done.returncode == 0, done.stderr
    assert not own_product.processes()
    again = own_product.down()
    assert (again.returncode, again.stdout) == (0, "Clarion is not running.\n")


def test_down_stops_orphans_of_a_killed_supervisor(own_product: Product) -> None:
    """Even with the supervisor gone each process is found; those of another run are left alone."""
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        own_product.start()
        started = own_product.tree()
        assert own_product.up
        own_product.up.kill()
        own_product.up.wait()
        os.kill(own_product.supervisor_pid(), signal.SIGKILL)
        assert len(_living(started)) > 5
        assert own_product.down().returncode == 0
        assert not _living(started)
        assert stranger.poll() is None
    finally:
        stranger.communicate(b"\n")


def test_up_starts_again_after_it_was_killed(own_product: Product) -> None:
    """A new `make up` stops what the killed one left and takes its place, with the same key."""
    own_product.start()
    key = own_product.dev["api_key"]
    assert own_product.up
    own_product.up.kill()
    own_product.up.wait()
    own_product.start()
    assert "Stopping what an earlier run left" in own_product.text
    assert own_product.dev["api_key"] == key
    own_product.publish("chat:x", {"n": 1})
    assert own_product.stop() == 0


def test_down_stops_a_running_up(own_product: Product) -> None:
    """`make down` from a second terminal ends the first one's `make up` with exit code 0."""
    own_product.start()
    assert own_product.down().returncode == 0
    assert own_product.up
    assert own_product.up.wait(90) == 0
    assert not own_product.processes()


def _living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; psutil knows a process from another one with the same id."""
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def _up(product: Product) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.dev", "up"],
        cwd=ROOT,
        env=product.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
