"""What stands around the lab's sockets, on a real gateway: doors, threads, database connections, faults."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async

from .conftest import PUBLIC_URL, GatewayProcess, close_of, received, running_gateway

pytestmark = pytest.mark.timeout(120)

HELLO = '{"msg": "hello"}'
PATHS = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
FAULTS = {"application": "lab_faults:application", "PYTHONPATH": os.pathsep.join(PATHS)}
SOCKETS_MAX = 12  # of lab_faults

StartGateway = Callable[..., GatewayProcess]


@pytest.fixture(scope="module")
def faults(
    shared_redis_url: str, migrated_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway with the lessons of ``lab_faults``."""
    folder = tmp_path_factory.mktemp("faults")
    with running_gateway(folder, shared_redis_url, migrated_database, may_raise=True, **FAULTS) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def on_postgresql(
    shared_redis_url: str,
    migrated_database: Path,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    """The same on PostgreSQL, in a database of its own; no connection is left to the garbage collector."""
    folder = tmp_path_factory.mktemp("on_postgresql")
    url = postgres_server.database_create(f"lab_{uuid4().hex}")
    env = {"DATABASE_URL": url, "PYTHONWARNINGS": "always::ResourceWarning", **FAULTS}
    with running_gateway(folder, shared_redis_url, migrated_database, may_raise=True, **env) as gateway:
        subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], env=gateway.env, timeout=90, check=True)
        yield gateway
        log = gateway.log
    assert "ResourceWarning" not in log


async def refusal_of(gateway: GatewayProcess, path: str, origin: str | None = None) -> tuple[int, str]:
    """The status and the problem's code of a handshake that is refused."""
    with pytest.raises(InvalidStatus) as caught:
        await gateway.lesson(path, origin=origin)
    answer = caught.value.response
    return answer.status_code, json.loads(answer.body or b"")["code"]


@asynccontextmanager
async def opened(gateway: GatewayProcess, path: str, count: int) -> AsyncIterator[list[ClientConnection]]:
    """So many sockets of one lesson."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(gateway.lesson(path)) for _ in range(count)]


# --- doors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [None, PUBLIC_URL, PUBLIC_URL.upper(), "https://app.example"])
async def test_a_page_of_this_origin_and_a_script_without_one_may_open_a_lesson(
    shared_gateway: GatewayProcess, origin: str | None
) -> None:
    """CLARION_PUBLIC_URL, client.allowed_origins, or no Origin at all; nobody has to be signed in."""
    async with shared_gateway.lesson("sc/", origin=origin) as socket:
        await socket.send(HELLO)
        assert await received(socket, 1) == [{"msg": "hello"}]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://push.example", f"{PUBLIC_URL}:444", f"{PUBLIC_URL}.evil.example"]
)
async def test_a_page_of_another_origin_is_refused_at_the_handshake(
    shared_gateway: GatewayProcess, origin: str
) -> None:
    """403, before anything is known of its visitor; scheme and port count."""
    assert await refusal_of(shared_gateway, "sc/", origin) == (403, "permission_denied")


@pytest.mark.parametrize("path", ["nothing/", "sc", "sc/x/", "room/", "/"])
async def test_a_path_that_is_no_lesson_is_404_at_the_handshake(shared_gateway: GatewayProcess, path: str) -> None:
    """Not a traceback in the log, as URLRouter alone would have it."""
    assert await refusal_of(shared_gateway, path) == (404, "not_found")


@pytest.mark.parametrize(("channel", "code"), [("lab", 4404), ("lab:x", 4404), ("lab/sc", 4400), ("labour:x", 4404)])
async def test_a_room_that_is_called_lab_is_a_plain_room(
    shared_gateway: GatewayProcess, channel: str, code: int
) -> None:
    """Only what is below /ws/lab/ is a lesson: here no namespace is called lab, and a name holds no slash."""
    assert (await close_of(shared_gateway.connect(channel)))[0] == code


async def test_the_lab_takes_a_bounded_number_of_sockets(faults: GatewayProcess) -> None:
    """One more is accepted, told why, and closed with 1013; when another has left there is room again."""
    async with opened(faults, "echo/", SOCKETS_MAX - 1), faults.lesson("echo/") as last:
        await expect_come_back(faults, "echo/", "too_many_requests")
        await last.close()
        async with asyncio.timeout(30):
            while await has_room(faults) is False:
                pass


async def has_room(gateway: GatewayProcess) -> bool:
    """Whether the echo lesson answers, instead of sending away."""
    async with gateway.lesson("echo/") as socket:
        with suppress(ConnectionClosed):
            await socket.send("1")
            return await received(socket, 1) == [1]
    return False


async def expect_come_back(gateway: GatewayProcess, path: str, code: str) -> None:
    """An accepted handshake, an error frame, 1013 with the reason."""
    async with gateway.lesson(path) as socket:
        assert (await received(socket, 1))[0]["error"]["code"] == code
        await socket.wait_closed()
        assert socket.close_code == 1013
        assert socket.close_reason


async def test_a_lab_that_is_off_leaves_nothing_behind(
    shared_redis_url: str, migrated_database: Path, tmp_path: Path
) -> None:
    """As if there were none: its page is 404, its sockets are plain rooms of a wrong name."""
    with running_gateway(tmp_path, shared_redis_url, migrated_database, CLARION_LAB="0") as gateway:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", trust_env=False) as client:
            for path in ("/lab/", "/lab", "/lab/static/clarion/clarion.css"):
                answer = await client.get(path)
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert (await close_of(gateway.lesson("sc/", origin=PUBLIC_URL)))[0] == 4400
        async with gateway.connect("chat:x") as socket:
            gateway.publisher.publish("chat:x", 1)
            assert await received(socket, 1) == [1]


# --- threads ----------------------------------------------------------------------------------------------------------


async def test_a_lesson_that_blocks_delays_nobody(faults: GatewayProcess) -> None:
    """Another sync lesson, a page, and a plain room's sign-in by cookie go on: all of them need a thread."""
    cookie = faults.session_cookie("ada")
    async with faults.lesson("blocks/") as one, faults.lesson("blocks/") as other:
        await one.send("1")
        assert await one.recv() == "blocking"
        async with asyncio.timeout(20):
            options = {"token": None, "origin": PUBLIC_URL, "cookie": cookie, "query": "?hello=1"}
            async with faults.connect("chat:x", **options) as room:  # type: ignore[arg-type]
                assert (await received(room, 1))[0]["hello"]["user"] != ""
            async with httpx.AsyncClient(trust_env=False) as client:
                page = await client.get(f"http://127.0.0.1:{faults.port}/lab/", headers={"Host": "push.example"})
                assert page.status_code == 200
            await other.send("release")
            assert [await other.recv() for _ in range(2)] == ["blocking", "released"]
            assert await one.recv() == "released"


@pytest.mark.parametrize("path", ["raises/sync/", "raises/async/"])
async def test_a_lesson_that_raises_closes_its_own_socket_alone(faults: GatewayProcess, path: str) -> None:
    """1011, with the exception in the log; a socket of the same lesson and one of another go on."""
    async with faults.lesson("echo/") as echo, faults.lesson(path) as same, faults.lesson(path) as socket:
        await socket.send("secret-payload")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1011
        assert "secret-payload" not in (socket.close_reason or "")
        await echo.send("1")
        assert await received(echo, 1) == [1]
        await (await same.ping())
    failures = [event["message"] for event in faults.events if event["event"] == "application.failed"]
    assert any("ZeroDivisionError" in text for text in failures)


async def test_a_lesson_that_raises_before_its_answer_is_500_at_the_handshake(faults: GatewayProcess) -> None:
    """No traceback leaves."""
    with pytest.raises(InvalidStatus) as caught:
        await faults.lesson("raises/early/")
    assert caught.value.response.status_code == 500
    assert b"ZeroDivision" not in (caught.value.response.body or b"")


# --- Redis and the database -------------------------------------------------------------------------------------------


async def test_a_lesson_while_redis_is_away_says_so_and_closes_with_1013(
    gateway: GatewayProcess, redis_server: RedisServer
) -> None:
    """Accepted, error frame, 1013; once Redis is back the next try goes through."""
    redis_server.stop()
    for path in ("sc/", "ac/"):
        await expect_come_back(gateway, path, "layer_unavailable")
    redis_server.start()
    await wait_until_async(lambda: gateway.health("ready") == 200)
    async with gateway.lesson("sc/") as socket:
        await socket.send(HELLO)
        assert await received(socket, 1) == [{"msg": "hello"}]


async def test_a_session_that_cannot_be_read_says_so_and_closes_with_1013(
    shared_redis_url: str, migrated_database: Path, tmp_path: Path
) -> None:
    """The database away: who has a session is told to come back, who has none needs no database."""
    url = f"postgres://clarion@127.0.0.1:{free_port()}/clarion"
    with running_gateway(tmp_path, shared_redis_url, migrated_database, DATABASE_URL=url) as gateway:
        async with gateway.lesson("sc/", cookie=f"clarion_session={uuid4().hex}") as socket:
            assert (await received(socket, 1))[0]["error"]["code"] == "database_unavailable"
            await socket.wait_closed()
            assert socket.close_code == 1013
        async with gateway.lesson("sc/") as socket:
            await socket.send(HELLO)
            assert await received(socket, 1) == [{"msg": "hello"}]


async def test_a_socket_gives_its_database_connection_back_after_each_use(on_postgresql: GatewayProcess) -> None:
    """Sockets that stay open hold none, or a hundred of them would be the database's limit."""
    async with opened(on_postgresql, "queries/", 8) as sockets:
        for socket in sockets:
            await socket.send("1")
        used = [(await received(socket, 1))[0] for socket in sockets]
        assert len({each["thread"] for each in used}) == 8  # each in a thread of its own
        await wait_until_async(lambda: backends_of(on_postgresql) == 0)
        await sockets[0].send("1")
        again = (await received(sockets[0], 1))[0]
        assert again["thread"] == used[0]["thread"]
        assert again["pid"] not in {each["pid"] for each in used}


async def test_a_connection_that_a_lesson_leaves_open_is_closed_with_its_socket(on_postgresql: GatewayProcess) -> None:
    """``sync_to_async`` alone closes nothing; the socket's thread does, when the socket has gone."""
    async with opened(on_postgresql, "leaves-open/", 3) as sockets:
        for socket in sockets:
            await socket.send("1")
            await received(socket, 1)
        assert backends_of(on_postgresql) == 3
        await sockets[0].send("raise")
        await wait_until_async(lambda: backends_of(on_postgresql) == 2)
    await wait_until_async(lambda: backends_of(on_postgresql) == 0)


async def test_a_page_gives_its_database_connection_back(on_postgresql: GatewayProcess) -> None:
    """A request that reads its visitor's session leaves no connection, and no thread, behind."""
    headers = {"Host": "push.example", "Cookie": on_postgresql.session_cookie(f"u{uuid4().hex[:8]}")}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
        for _ in range(5):
            page = await client.get(f"http://127.0.0.1:{on_postgresql.port}/lab/")
            assert "Sign out" in page.text
    await wait_until_async(lambda: backends_of(on_postgresql) == 0)


def backends_of(gateway: GatewayProcess) -> int:
    """How many connections its database has, this one left out."""
    question = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(gateway.env["DATABASE_URL"], autocommit=True) as connection:
        row = connection.execute(question).fetchone()
        assert row is not None
        return int(row[0])
