"""ws_gateway.lab: the counters, their slots, and the thread that blocking ones may share."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext
from channels.consumer import AsyncConsumer
from channels.testing import WebsocketCommunicator

from tests.support.waiting import wait_until_async
from ws_gateway.lab.consumers.counter_async import AsyncCounter
from ws_gateway.lab.consumers.counter_sync import SyncCounter
from ws_gateway.lab.limits import blocking_counters
from ws_gateway.lab.threads import SharedThread

pytestmark = pytest.mark.usefixtures("memory_layer")

TIMEOUT_S = 30
START = '{"msg": "start"}'
FAST = "/?interval_ms=50"


class Lab:
    """An application as the gateway serves it, a thread a socket, whose clients can be lost."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.lost = threading.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        async def send_or_fail(message: dict[str, Any]) -> None:
            if self.lost.is_set():
                raise ConnectionError("the WebSocket is closed")
            await send(message)

        async with ThreadSensitiveContext():
            await self._application(scope, receive, send_or_fail)


@contextlib.asynccontextmanager
async def clients(application: Any, count: int, path: str = FAST) -> AsyncIterator[list[WebsocketCommunicator]]:
    """Connected clients; whatever still runs at the end is cancelled, and has given its slot back."""
    lab = Lab(application)
    made = [WebsocketCommunicator(lab, path) for _ in range(count)]
    for client in made:
        assert await client.connect(TIMEOUT_S) == (True, None)
    try:
        yield made
    finally:
        lab.lost.set()
        for client in made:
            with contextlib.suppress(asyncio.CancelledError):
                client.future.cancel()
                await client.future
        await wait_until_async(lambda: blocking_counters.in_use == 0, what="every slot is free")


async def counted(client: WebsocketCommunicator, first: int, last: int) -> None:
    """Receive these numbers and nothing in between."""
    for number in range(first, last + 1):
        assert await client.receive_json_from(TIMEOUT_S) == {"count": number}


async def until(client: WebsocketCommunicator, is_last: Callable[[Any], bool]) -> list[Any]:
    """The frames before the one that is waited for; it must come before the counter's end."""
    frames = []
    while not is_last(frame := await client.receive_json_from(TIMEOUT_S)):
        frames.append(frame)
    return frames


def counting_task() -> asyncio.Task[None]:
    """The task beside the one AsyncCounter that counts."""
    (task,) = (task for task in asyncio.all_tasks() if "AsyncCounter.count" in str(task.get_coro()))
    return task


@pytest.mark.parametrize("consumer", [SyncCounter, AsyncCounter])
async def test_counter_counts_30_times_and_again_on_the_next_message(
    consumer: type[AsyncConsumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One to the last, as JSON; then the client leaves and the consumer stops."""
    assert consumer.counts == 30  # type: ignore[attr-defined]
    monkeypatch.setattr(consumer, "counts", 3)
    async with clients(consumer.as_asgi(), 1) as (client,):
        for _ in range(2):
            await client.send_to(START)
            await counted(client, 1, 3)
        await client.disconnect(1000, TIMEOUT_S)
        assert client.future.done()


async def test_sync_counter_makes_the_next_message_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels hands it over when the handler has returned: first all of one count, then the rest in order."""
    monkeypatch.setattr(SyncCounter, "counts", 3)
    async with clients(SyncCounter.as_asgi(), 1) as (client,):
        for text in (START, "{", START):
            await client.send_to(text)
        await counted(client, 1, 3)
        assert (await client.receive_json_from(TIMEOUT_S))["error"]["code"] == "json_malformed"
        await counted(client, 1, 3)


async def test_async_counter_answers_while_it_counts() -> None:
    """Bad input is answered between two numbers; a message starts the count again from 1."""
    async with clients(AsyncCounter.as_asgi(), 1) as (client,):
        await client.send_to(START)
        await counted(client, 1, 2)
        await client.send_to("{")
        seen = await until(client, lambda frame: "error" in frame)
        await client.send_to(START)
        seen += await until(client, lambda frame: frame == {"count": 1})
        assert [frame["count"] for frame in seen] == list(range(3, 3 + len(seen)))
        await counted(client, 2, 4)  # one count, not two that alternate


async def test_async_counter_is_cancelled_when_the_client_leaves() -> None:
    """At once: its task is gone with the consumer, in the middle of a pause."""
    async with clients(AsyncCounter.as_asgi(), 1, "/?interval_ms=1000") as (client,):
        await client.send_to(START)
        await counted(client, 1, 1)
        task = counting_task()
        await client.disconnect(1001, TIMEOUT_S)
        await wait_until_async(task.cancelled, what="the task is cancelled, not done")
        assert client.output_queue.empty()


async def test_async_counter_ends_quietly_when_send_finds_the_client_gone() -> None:
    """Before the disconnect has come: the task is done, with no exception that nobody fetches."""
    lab = Lab(AsyncCounter.as_asgi())
    client = WebsocketCommunicator(lab, FAST)
    await client.connect(TIMEOUT_S)
    await client.send_to(START)
    await counted(client, 1, 2)
    task = counting_task()
    lab.lost.set()
    await wait_until_async(task.done)
    assert task.exception() is None
    await client.disconnect(1006, TIMEOUT_S)


async def test_sync_counter_ends_quietly_when_send_finds_the_client_gone() -> None:
    """OSError of the server's send: no exception leaves the application, and the slot is free."""
    lab = Lab(SyncCounter.as_asgi())
    client = WebsocketCommunicator(lab, FAST)
    await client.connect(TIMEOUT_S)
    await client.send_to(START)
    await counted(client, 1, 2)
    lab.lost.set()
    await client.send_input({"type": "websocket.disconnect", "code": 1006})
    await client.wait(TIMEOUT_S)  # raises what the application raised
    assert blocking_counters.in_use == 0
    assert client.output_queue.qsize() <= 1


async def test_sync_counters_are_five_a_visitor() -> None:
    """The sixth gets an error frame and 4429; when one ends its slot serves again."""
    async with clients(SyncCounter.as_asgi(), 7, "/") as made:
        for client in made[:5]:
            await client.send_to(START)
        for client in made[:5]:
            await counted(client, 1, 1)
        assert blocking_counters.in_use == 5
        await made[5].send_to(START)
        assert (await made[5].receive_json_from(TIMEOUT_S))["error"]["code"] == "too_many_requests"
        close = await made[5].receive_output(TIMEOUT_S)
        assert (close["type"], close["code"]) == ("websocket.close", 4429)
        await made[5].disconnect(4429, TIMEOUT_S)
        await made[6].send_to("{")  # what does not count needs no slot
        assert (await made[6].receive_json_from(TIMEOUT_S))["error"]["code"] == "json_malformed"


async def test_sync_counters_run_side_by_side_in_threads_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All have begun before the first is done."""
    monkeypatch.setattr(SyncCounter, "counts", 200)  # no machine is so slow that one ends meanwhile
    async with clients(SharedThread(SyncCounter.as_asgi()), 5) as made:
        for client in made:
            await client.send_to(START)
        for client in made:
            await counted(client, 1, 2)


async def test_sync_counters_wait_for_each_other_in_a_shared_thread() -> None:
    """As in stock Channels: one begins when another has ended; a socket that waits holds no slot."""
    seen: list[tuple[SyncCounter, str, int]] = []

    class Watched(SyncCounter):
        counts = 3

        def count(self) -> None:
            seen.append((self, "begins", blocking_counters.in_use))
            super().count()
            seen.append((self, "ends", blocking_counters.in_use))

    async with clients(SharedThread(Watched.as_asgi()), 3, f"{FAST}&thread=page") as made:
        for client in made:
            await client.send_to(START)
        for client in made:
            await counted(client, 1, 3)
        await wait_until_async(lambda: len(seen) == 6)
    assert [(what, slots) for _, what, slots in seen] == [("begins", 1), ("ends", 1)] * 3
    assert [one for one, _, _ in seen[::2]] == [one for one, _, _ in seen[1::2]]


async def test_async_counters_interleave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five at once on one event loop: each gets its next number before any is done."""
    monkeypatch.setattr(AsyncCounter, "counts", 200)
    async with clients(AsyncCounter.as_asgi(), 5) as made:
        for client in made:
            await client.send_to(START)
        for client in made:
            await counted(client, 1, 3)


async def test_shared_thread_is_one_visitors_and_ends_with_its_last_socket() -> None:
    """The same name at another address is another thread; without a name nothing is shared; none is left over."""
    threads: dict[str, int] = {}

    class Naming(SyncCounter):
        def websocket_receive(self, message: dict[str, Any]) -> None:
            threads[message["text"]] = threading.get_ident()
            self.answer({})

    lab = Lab(shared := SharedThread(Naming.as_asgi()))
    made = {}
    for who, address, path in [
        ("a1", "192.0.2.1", "/?thread=x"), ("a2", "192.0.2.1", "/?thread=x"), ("a3", "192.0.2.1", "/?thread=y"),
        ("b1", "192.0.2.2", "/?thread=x"), ("a4", "192.0.2.1", "/"), ("a5", "192.0.2.1", "/?thread="),
    ]:  # fmt: skip
        made[who] = client = WebsocketCommunicator(lab, path)
        client.scope["client"] = [address, 1]
        await client.connect(TIMEOUT_S)
        await client.send_to(who)
        await client.receive_json_from(TIMEOUT_S)
    assert len(shared._threads) == 3
    assert threads["a1"] == threads["a2"]
    assert len(set(threads.values())) == 5
    for client in made.values():
        await client.disconnect(1000, TIMEOUT_S)
    assert shared._threads == {}
    await wait_until_async(lambda: not [one for one in threading.enumerate() if one.name.startswith("lab-shared")])
