"""The gateway's ear: one Redis connection a shard, read in bursts.

redis-py opens and authenticates the connection (TLS, passwords, Unix sockets); then its transport is handed to
:class:`_Burst`, which gives every message of one read to the hub in one call, grouped by Redis channel. redis-py's own
message loop costs more than the rest of a delivery (ADR-0001).

Everything runs on the event loop that called :meth:`Subscriber.start`. Pub/sub is at most once: what was published
while Redis was away is gone, and ``on_lost`` / ``on_regained`` say when that was.

Source: ADR-0001, ADR-0002.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis
import structlog
from channels_redis.utils import _consistent_hash
from redis.asyncio.connection import Connection, ConnectionPool
from redis.exceptions import ResponseError

from clarion.connections import REDIS_ERRORS, async_options
from clarion.refusals import is_disk_full, redis_reason, redis_server_of

log = structlog.stdlib.get_logger("clarion.subscriber")

PING_INTERVAL_S: Final = 3.0
"""An idle connection is asked this often whether it lives; silence until the next time ends it (a black hole sends
no FIN)."""

BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MOST_S: Final = 1.0
_NAMES_PER_COMMAND: Final = 1_000

Messages = dict[bytes, list[bytes]]
"""Redis channel → its payloads, in the order published."""


class Subscriber:
    """Subscriptions of one process, over all shards.

    Args:
        urls: one Redis URL a shard, in the order that all services agree on.
        on_messages: called with all messages of one read; it must not block.
        on_lost: called when a shard's connection is lost; messages published from now on will not arrive.
        on_regained: called when a shard is back and every subscription on it stands again.
        timeout_s: how long Redis may take to connect, and to answer.
    """

    def __init__(
        self,
        urls: list[str],
        *,
        on_messages: Callable[[Messages], None],
        on_lost: Callable[[], None] = lambda: None,
        on_regained: Callable[[], None] = lambda: None,
        timeout_s: float = 1.0,
    ) -> None:
        self._shards = [_Shard(url, on_messages, on_lost, on_regained, timeout_s) for url in urls]

    @property
    def connected(self) -> bool:
        """Whether every shard is connected and every subscription made before stands."""
        return all(shard.ready for shard in self._shards)

    @property
    def confirmed(self) -> int:
        """How many subscriptions Redis has confirmed so far."""
        return sum(shard.confirmed for shard in self._shards)

    @property
    def losses(self) -> int:
        """How often a connection was lost so far."""
        return sum(shard.losses for shard in self._shards)

    @property
    def reads(self) -> int:
        """How often something was read so far."""
        return sum(shard.reads for shard in self._shards)

    @property
    def read_bytes(self) -> int:
        """How many bytes were read so far."""
        return sum(shard.read_bytes for shard in self._shards)

    def start(self) -> None:
        """Begin to connect; a Redis that is away is waited for, with back-off."""
        for shard in self._shards:
            shard.start()

    async def stop(self) -> None:
        """Close the connections; no callback comes after this."""
        await asyncio.gather(*(shard.stop() for shard in self._shards))

    def subscribe(self, name: str | bytes) -> asyncio.Future[None]:
        """Subscribe to a Redis channel. The future is done once Redis confirms it.

        While Redis is away the subscription is remembered, and made when it is back. The caller sets the deadline, on a
        shield: others may wait for the same future.
        """
        return self._shard(name).subscribe(_bytes(name))

    def unsubscribe(self, name: str | bytes) -> None:
        """Give a subscription back."""
        self._shard(name).unsubscribe(_bytes(name))

    async def settle(self) -> None:
        """Return once everything has been handed over that Redis had sent, on every shard, before this call.

        A shard that is away has sent nothing. The caller sets the deadline.
        """
        await asyncio.gather(*(shard.settle() for shard in self._shards))

    def pause(self) -> None:
        """Stop reading; what is published waits in Redis, up to its output buffer limit."""
        for shard in self._shards:
            shard.pause()

    def resume(self) -> None:
        """Read again."""
        for shard in self._shards:
            shard.resume()

    def _shard(self, name: str | bytes) -> _Shard:
        shard: int = _consistent_hash(name, len(self._shards))
        return self._shards[shard]


def _bytes(name: str | bytes) -> bytes:
    return name.encode() if isinstance(name, str) else name


class _Shard:
    """The connection to one Redis server, and the subscriptions that belong there."""

    def __init__(
        self,
        url: str,
        on_messages: Callable[[Messages], None],
        on_lost: Callable[[], None],
        on_regained: Callable[[], None],
        timeout_s: float,
    ) -> None:
        # The pool is only a factory: it knows which connection class and options a URL means.
        self._factory = ConnectionPool.from_url(url, **cast("dict[str, Any]", async_options(timeout_s)))
        self._server = redis_server_of(url)
        self._on_messages = on_messages
        self._on_lost = on_lost
        self._on_regained = on_regained
        self._timeout_s = timeout_s
        self._names: dict[bytes, asyncio.Future[None]] = {}
        # SUBSCRIBEs sent and not yet confirmed, by name: a name given back and taken again at once has two under way,
        # and only the last one's confirmation says that the subscription stands.
        self._unconfirmed: dict[bytes, int] = {}
        self._new: list[bytes] = []
        self._burst: _Burst | None = None
        self._paused = False
        self._was_paused = False  # at any time since the last look at whether Redis is silent
        self._task: asyncio.Task[None] | None = None
        self._done: asyncio.Future[None] | None = None
        self._stopping = False
        self._delay_s = BACKOFF_FIRST_S
        self.ready = False
        self.confirmed = 0
        self.losses = 0
        self.reads = 0
        self.read_bytes = 0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._stay_connected(), name="subscriber")

    async def stop(self) -> None:
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def subscribe(self, name: bytes) -> asyncio.Future[None]:
        future = self._names.get(name)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._names[name] = loop.create_future()
            if not self._new:  # all names of one turn of the loop go in one command
                loop.call_soon(self._send_new)
            self._new.append(name)
        return future

    def unsubscribe(self, name: bytes) -> None:
        future = self._names.pop(name, None)
        if future is None:
            return
        future.cancel()
        if name in self._new:
            self._new.remove(name)
        elif self._burst is not None:
            self._burst.send(b"UNSUBSCRIBE", name)

    async def settle(self) -> None:
        if self._burst is not None and self._names:  # without a subscription the answer to a PING has another form
            await self._burst.settle()

    def pause(self) -> None:
        self._paused = self._was_paused = True
        if self._burst is not None:
            self._burst.pause(True)

    def resume(self) -> None:
        self._paused = False
        if self._burst is not None:
            self._burst.pause(False)

    def _send_new(self) -> None:
        names, self._new = self._new, []
        if self._burst is not None:  # else they are made with all others on connecting
            self._send_subscribe(self._burst, names)

    def _send_subscribe(self, burst: _Burst, names: list[bytes]) -> None:
        for name in names:
            self._unconfirmed[name] = self._unconfirmed.get(name, 0) + 1
        for start in range(0, len(names), _NAMES_PER_COMMAND):
            burst.send(b"SUBSCRIBE", *names[start : start + _NAMES_PER_COMMAND])

    def _confirmed(self, name: bytes) -> None:
        self.confirmed += 1
        left = self._unconfirmed.get(name, 0) - 1
        if left > 0:
            self._unconfirmed[name] = left
            return
        self._unconfirmed.pop(name, None)
        future = self._names.get(name)
        if future is not None and not future.done():
            future.set_result(None)
            self._names[name] = self._stands()
        if not self.ready and not self._unconfirmed:
            self._set_ready()

    def _stands(self) -> asyncio.Future[None]:
        """A future that is done, one for all subscriptions that stand."""
        if self._done is None:
            self._done = asyncio.get_running_loop().create_future()
            self._done.set_result(None)
        return self._done

    def _set_ready(self) -> None:
        self.ready = True
        log.info("redis.connected", subscriptions=len(self._names))
        self._on_regained()

    async def _stay_connected(self) -> None:
        """Connect, read until the connection ends, and again; the task's owner is :meth:`stop`."""
        while not self._stopping:  # a cancellation may be lost in redis-py (Python 3.11's wait_for)
            connection = cast("Connection", self._factory.make_connection())
            try:
                await connection.connect()
                await self._read(connection)
            except REDIS_ERRORS as exc:
                log.warning("redis.unreachable", server=self._server, error=redis_reason(exc), retry_in_s=self._delay_s)
            finally:
                # Nothing in `connection` waits for a FIN: a black hole would never send one.
                await connection.disconnect(nowait=True)
            await asyncio.sleep(self._delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            self._delay_s = min(2 * self._delay_s, BACKOFF_MOST_S)

    async def _read(self, connection: Connection) -> None:
        """Take the connection over and keep it until it ends.

        Raises:
            ResponseError: Redis answered a command with an error; redis-py's connect() hides a NOAUTH.
        """
        writer = connection._writer
        assert writer is not None  # connect() has returned
        transport = cast("asyncio.Transport", writer.transport)
        burst = _Burst(self, transport, self._on_messages, self._confirmed)
        # From here on reads bypass redis-py: no stream, no task switch between the socket and the hub.
        transport.set_protocol(burst)
        self._burst = burst
        self._unconfirmed.clear()
        self._new.clear()
        if self._paused:
            burst.pause(True)
        self._send_subscribe(burst, list(self._names))
        if not self._names:
            self._set_ready()
        try:
            await self._watch(burst)
        finally:
            self._burst = None
            transport.abort()
            self._ended(is_refused=bool(burst.error))
        if burst.error:
            raise ResponseError(burst.error)

    def _ended(self, *, is_refused: bool) -> None:
        """Tell of a loss, unless Redis refused us from the start: then nothing was had."""
        was_ready, self.ready = self.ready, False
        if not is_refused:
            self._delay_s = BACKOFF_FIRST_S
        if not self._stopping and (was_ready or not is_refused):
            self.losses += 1
            log.warning("redis.lost", subscriptions=len(self._names))
            self._on_lost()

    async def _watch(self, burst: _Burst) -> None:
        """Return when the connection has ended; end it when it stays silent."""
        while not burst.ended.done():
            heard, self._was_paused = self.reads, self._paused
            burst.ping()
            await asyncio.wait([burst.ended], timeout=PING_INTERVAL_S)
            if self.reads == heard and not self._was_paused and not burst.ended.done():
                log.warning("redis.silent", silent_s=PING_INTERVAL_S)
                return


class _Burst(asyncio.Protocol):
    """The reading half of a subscribed connection: bytes in, grouped messages out."""

    def __init__(
        self,
        shard: _Shard,
        transport: asyncio.Transport,
        on_messages: Callable[[Messages], None],
        on_confirmed: Callable[[bytes], None],
    ) -> None:
        self._shard = shard
        self._transport = transport
        self._on_messages = on_messages
        self._on_confirmed = on_confirmed
        self._reader = hiredis.Reader()
        self.error = ""
        """The error that ended it, in Redis' words."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pings: deque[asyncio.Future[None] | None] = deque()  # whose answers are on the way, in order

    def ping(self, pong: asyncio.Future[None] | None = None) -> None:
        """Ask Redis whether it is there; ``pong`` is done with its answer."""
        self._pings.append(pong)
        self.send(b"PING")

    async def settle(self) -> None:
        """Wait for an answer: what Redis sent before it has been read then, since it all comes in order."""
        pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ping(pong)
        await asyncio.wait([pong, self.ended], return_when=asyncio.FIRST_COMPLETED)

    def send(self, *command: bytes) -> None:
        self._transport.write(hiredis.pack_command(cast("Any", command)))  # its stub allows tuples of one only

    def pause(self, paused: bool) -> None:
        if self._transport.is_closing():
            return
        if paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        # Hot path: called once a read, whatever it holds.
        shard = self._shard
        shard.reads += 1
        shard.read_bytes += len(data)
        self._reader.feed(data)
        while self._read():
            pass

    def _read(self) -> bool:
        """Hand over what has come whole; True if an answer of Redis' stands behind which more may have."""
        reader = self._reader
        messages: Messages = {}
        reply: Any = None
        is_answered = False
        try:
            while True:
                reply = reader.gets()
                if reply is False:
                    break
                if reply[0] == b"message":
                    payloads = messages.get(reply[1])
                    if payloads is None:
                        messages[reply[1]] = [reply[2]]
                    else:
                        payloads.append(reply[2])
                elif reply[0] == b"subscribe":
                    self._on_confirmed(reply[1])
                elif reply[0] == b"pong" or reply == b"PONG":
                    self._answered()
        except Exception as exc:  # noqa: BLE001 - a broken stream cannot be resumed
            is_answered = self._failed(reply, exc)
        if messages:
            self._on_messages(messages)
        return is_answered

    def _failed(self, reply: Any, exc: Exception) -> bool:
        """Tell whether the connection goes on after a reply that has no [0]; none is asked for its type before that."""
        if isinstance(reply, hiredis.ReplyError):
            if is_disk_full(reply):  # an answer to PING, too
                self._answered()
                return True
            self.error = str(reply)
        else:
            log.error("redis.stream_broken", error=repr(exc))
        self._transport.abort()
        return False

    def _answered(self) -> None:
        pong = self._pings.popleft() if self._pings else None
        if pong is not None and not pong.done():
            pong.set_result(None)  # seen from the event loop, when the messages of this read have been handed over

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
