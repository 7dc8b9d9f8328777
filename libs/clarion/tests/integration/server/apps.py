"""The ASGI application of the server tests: WebSockets under /ws/, streams at /stream, controls under /control/.

It stands on neither Django nor Channels. What an endpoint sees is noted in a journal under the connection's name
(`?name=` of its URL), which a test reads by a control operation.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import time
import weakref
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from clarion.server import HttpStream, chunk, text_frame

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Query = dict[str, str]

JOURNAL: dict[str, list[Any]] = defaultdict(list)
GATES: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
SESSIONS: dict[str, Recorder] = {}
LATE: list[tuple[str, str]] = []  # messages on their way to sessions
TASKS: set[asyncio.Task[Any]] = set()
MARKERS: weakref.WeakSet[Marker] = weakref.WeakSet()
MARKER: contextvars.ContextVar[Marker | None] = contextvars.ContextVar("MARKER", default=None)
BUSY: list[str] = []  # what the hub is in the midst of; `closed` may not be called then
TURN = {"ticks": 0}  # turns of the event loop, counted while `count_turns` is on


class Marker:
    """An object that the context of a handshake holds, as a request id or a span would."""


class Recorder:
    """A session that notes its calls and obeys a client's commands."""

    def __init__(self, connection: Any, name: str) -> None:
        self.connection, self.name = connection, name
        self.due = 0
        SESSIONS[name] = self

    def wake(self) -> None:
        JOURNAL[self.name].append(["woken", MARKER.get() is not None, asyncio.current_task() is not None])
        if JOURNAL[self.name][0] == ["raise-in-wake"]:
            raise RuntimeError(f"raised by wake(): {self.name}")

    def received(self, message: str | bytes) -> None:
        note = message if isinstance(message, str) else {"bytes": message.hex()}
        JOURNAL[self.name].append(["received", note])
        if not isinstance(message, str):
            return
        command, _, rest = message.partition(" ")
        if command == "echo":
            self.connection.write(framed(self.connection, rest.encode()))
        elif command == "raise":
            raise RuntimeError(f"raised by the session: {rest}")
        elif command == "close":
            code, _, reason = rest.partition(" ")
            self.connection.close(int(code), reason)
        elif command == "context":
            JOURNAL[self.name].append(["context", MARKER.get() is not None, asyncio.current_task() is not None])
        elif command == "task":
            task = asyncio.get_running_loop().create_task(self.answer_later(rest))
            TASKS.add(task)  # the loop keeps only a weak reference (trap 44)
            task.add_done_callback(TASKS.discard)
        elif command == "turn":
            JOURNAL[self.name].append(["turn", TURN["ticks"]])

    async def answer_later(self, rest: str) -> None:
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
        self.connection.write(framed(self.connection, rest.encode()))

    def closed(self, code: int) -> None:
        JOURNAL[self.name].append(["closed", code, list(BUSY)])
        if JOURNAL[self.name][0] == ["raise-in-closed"]:
            raise RuntimeError("raised by closed()")


class Leaving(Recorder):
    """A session with a goodbye of its own: "says" one, "waits" with its end, "raises", or "owes" an answer."""

    def __init__(self, connection: Any, name: str, how: str) -> None:
        super().__init__(connection, name)
        self.how = how

    def drain_wait(self) -> bool:
        if self.how == "owes" and ["asked"] not in JOURNAL[self.name]:
            JOURNAL[self.name].append(["asked"])
        return self.how == "owes" and not GATES[self.name].is_set()

    def drain(self) -> None:
        print(f"{self.name}: drain", flush=True)
        if self.how == "raises":
            raise RuntimeError("raised by drain()")
        self.connection.write(framed(self.connection, b"goodbye"))
        if self.how == "says":
            self.connection.close(4100, "own words")

    def slow(self) -> None:
        if self.how == "raises":
            raise RuntimeError("raised by slow()")
        self.connection.write(framed(self.connection, b"too slow"))
        if self.how == "says":
            self.connection.close(4200, "own words")

    def closed(self, code: int) -> None:
        super().closed(code)
        print(f"{self.name}: closed {code}", flush=True)


def framed(connection: Any, payload: bytes) -> bytes:
    """A message as bytes that are ready for this kind of connection."""
    if not isinstance(connection, HttpStream):
        return text_frame(payload)
    return chunk(payload) if connection.is_chunked else payload


def session_of(connection: Any, query: Query) -> Any:
    """The session that a client's query asks for."""
    name = query["name"]
    if "drain" in query:
        return Leaving(connection, name, query["drain"])
    match query.get("kind"):
        case "count":
            return Counter(name)
        case "silent":
            return Silent(connection)
        case "cycle":
            return Cyclic(connection)
    return Recorder(connection, name)


def mark() -> None:
    """Hold an object by the context of this run, as a request id or a span would."""
    marker = Marker()
    MARKERS.add(marker)
    MARKER.set(marker)


class Counter:
    """A session that counts messages by turn of the event loop and keeps nothing else."""

    def __init__(self, name: str) -> None:
        self.name, self.turn, self.in_turn, self.most, self.total = name, -1, 0, 0, 0

    def received(self, message: str | bytes) -> None:
        if self.turn != TURN["ticks"]:
            self.turn, self.in_turn = TURN["ticks"], 0
        self.in_turn += 1
        self.total += 1
        self.most = max(self.most, self.in_turn)
        if message == "report":
            JOURNAL[self.name].append(["report", self.total, self.most])

    def closed(self, code: int) -> None:
        JOURNAL[self.name].append(["closed", code, []])


class Cyclic:
    """A session of user code that leaves a cycle and 20 KB behind."""

    def __init__(self, connection: Any) -> None:
        self.connection, self.myself, self.data = connection, self, b"%d" % id(self) * 1_500

    def received(self, message: str | bytes) -> None: ...

    def closed(self, code: int) -> None: ...


class Silent:
    """The smallest session there is, for counting what a connection costs."""

    __slots__ = ("connection",)

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def received(self, message: str | bytes) -> None: ...

    def closed(self, code: int) -> None: ...


def accept(scope: Scope, **more: Any) -> dict[str, Any]:
    """Accept with the first subprotocol that the client offers."""
    chosen = {"subprotocol": scope["subprotocols"][0]} if scope["subprotocols"] else {}
    return {"type": "websocket.accept", **chosen, **more}


# WebSocket endpoints: /ws/<name>.


async def echo(scope: Scope, receive: Receive, send: Send, query: Query) -> None:
    """Echo text and bytes; note the disconnect and what comes after it."""
    await receive()
    headers = [(b"x-first", b"1"), (b"x-second", b"2")] if "headers" in query else []
    more = {f"clarion.{key}": json.loads(query[key]) for key in ("ping", "max_size") if key in query}
    await send(accept(scope, headers=headers, **more))
    name = query["name"]
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            JOURNAL[name].append(["disconnect", message.get("code"), message.get("reason")])
            break
        seen = message.get("text") if message.get("text") is not None else {"bytes": message["bytes"].hex()}
        if len(str(seen)) < 200:
            JOURNAL[name].append(["received", seen])
        try:
            await send({"type": "websocket.send", **{key: message.get(key) for key in ("text", "bytes")}})
        except OSError as exc:
            JOURNAL[name].append(["send-failed", type(exc).__name__])
    try:
        await send({"type": "websocket.send", "text": "after the loss"})
    except OSError as exc:
        JOURNAL[name].append(["send-after-loss", type(exc).__name__])


async def script(scope: Scope, receive: Receive, send: Send, query: Query) -> None:
    """Do what the client's JSON says: send any message, return, or raise."""
    name = query["name"]
    try:
        await receive()
        await send(accept(scope))
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                JOURNAL[name].append(["disconnect", message.get("code"), message.get("reason")])
                return
            for step in json.loads(message["text"]):
                if step == "return":
                    return
                if step == "raise":
                    raise RuntimeError("raised by the script")
                if step.get("bytes") is not None:
                    step["bytes"] = bytes.fromhex(step["bytes"])
                try:
                    await send(step)
                except Exception as exc:  # noqa: BLE001 - whatever the server raises is what the test asks for
                    JOURNAL[name].append(["refused", step.get("type"), isinstance(exc, OSError), repr(exc)])
                else:
                    JOURNAL[name].append(["sent", step.get("type")])
    except asyncio.CancelledError:
        JOURNAL[name].append(["cancelled"])
        raise
    finally:
        JOURNAL[name].append(["finally"])


async def before(scope: Scope, receive: Receive, send: Send, query: Query) -> None:
    """End, in one of several ways, before anything is accepted."""
    JOURNAL[query["name"]].append(["called"])
    await receive()
    match query["do"]:
        case "return":
            return
        case "raise":
            raise RuntimeError("raised before accept")
        case "reject":
            await send({"type": "websocket.close", "code": 4001, "reason": "no"})
        case "deny":
            headers = [(b"content-type", b"text/plain"), (b"x-why", b"because")]
            await send({"type": "websocket.http.response.start", "status": 418, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": b"short ", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"and stout"})
        case "hang":
            JOURNAL[query["name"]].append([(await receive())["type"]])


async def late(scope: Scope, receive: Receive, send: Send, query: Query) -> None:
    """Answer the handshake only when a test opens the gate."""
    name = query["name"]
    await receive()
    JOURNAL[name].append(["waiting"])
    await GATES[name].wait()
    try:
        match query["then"]:
            case "echo":
                await _accept_and_echo(scope, receive, send, name)
            case "detach":
                session = Recorder(scope["extensions"]["clarion.connection"], name)
                await send(accept(scope, **{"clarion.session": session}))
            case "reject":
                await send({"type": "websocket.close"})
    except OSError as exc:
        JOURNAL[name].append(["accept-failed", type(exc).__name__])
    JOURNAL[name].append(["answered"])


async def _accept_and_echo(scope: Scope, receive: Receive, send: Send, name: str) -> None:
    await send(accept(scope))
    while (message := await receive())["type"] == "websocket.receive":
        JOURNAL[name].append(["received", message["text"]])
        await send({"type": "websocket.send", "text": message["text"]})
    JOURNAL[name].append(["disconnect", message["code"], message.get("reason")])


async def detach(scope: Scope, receive: Receive, send: Send, query: Query) -> None:
    """Hand the socket to a session and return."""
    if "line" in query:
        JOURNAL[query["line"]].append([query["name"], TURN["ticks"]])
    await receive()
    mark()
    session = session_of(scope["extensions"]["clarion.connection"], query)
    more = {f"clarion.{key}": json.loads(query[key]) for key in ("ping", "max_size") if key in query}
    try:
        await send(accept(scope, **{"clarion.session": session}, **more))
    finally:
        JOURNAL[query["name"]].append(["endpoint-finally"])


async def hold(scope: Scope, receive: Receive, send: Send, query: Query) -> None:
    """Accept, read nothing until the gate opens, then note how many messages there were and in what order."""
    name = query["name"]
    await receive()
    await send(accept(scope))
    JOURNAL[name].append(["accepted"])
    await GATES[name].wait()
    seen: list[str] = []
    disconnects = 0
    while not disconnects:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            disconnects += 1
            JOURNAL[name].append(["disconnect", message.get("code"), message.get("reason")])
        else:
            seen.append(message["text"])
            if message["text"] == "report":
                JOURNAL[name].append(["ordered", len(seen), seen[:-1] == [str(n) for n in range(len(seen) - 1)]])
                seen.clear()


async def sender(scope: Scope, receive: Receive, send: Send, query: Query) -> None:
    """Never read; once the gate opens, send until that fails."""
    name = query["name"]
    await receive()
    await send(accept(scope))
    await GATES[name].wait()
    try:
        for _ in range(100_000):
            await send({"type": "websocket.send", "text": "x" * int(query.get("size", "100"))})
            await asyncio.sleep(0.005)
    except OSError as exc:
        JOURNAL[name].append(["send-failed", type(exc).__name__])
    while (message := await receive())["type"] != "websocket.disconnect":
        pass
    JOURNAL[name].append(["disconnect", message["code"], message.get("reason")])


async def cancelling(scope: Scope, receive: Receive, send: Send, query: Query) -> None:
    """Wait for messages as `channels.utils.await_many_dispatch` does when it ends: by tasks that get cancelled."""
    await receive()
    await send(accept(scope))
    while True:
        task = asyncio.ensure_future(receive())
        done, _ = await asyncio.wait([task], timeout=0.001)
        if not done:
            task.cancel()
            try:
                message = await task
            except asyncio.CancelledError:
                continue
        else:
            message = task.result()
        if message["type"] == "websocket.disconnect":
            JOURNAL[query["name"]].append(["disconnect", message["code"], message.get("reason")])
            return
        JOURNAL[query["name"]].append(["received", message["text"]])


async def slow_end(scope: Scope, receive: Receive, send: Send, query: Query) -> None:
    """Take a while over the disconnect, as a handler that writes to a database would."""
    name = query["name"]
    await receive()
    await send(accept(scope))
    try:
        message = await receive()
        JOURNAL[name].append([message["type"], message.get("code")])
        print(f"{name}: {message['type']} {message.get('code')}", flush=True)
        await asyncio.sleep(float(query.get("seconds", "1")))
        print(f"{name}: handler ended", flush=True)
    except asyncio.CancelledError:
        print(f"{name}: cancelled", flush=True)
        raise


async def slow_answer(scope: Scope, receive: Receive, send: Send, query: Query) -> None:
    """Answer each message, after a while."""
    await receive()
    await send(accept(scope))
    while (message := await receive())["type"] == "websocket.receive":
        JOURNAL[query["name"]].append(["working"])
        await asyncio.sleep(float(query["seconds"]))
        await send({"type": "websocket.send", "text": f"answer to {message['text']}"})


async def show_scope(scope: Scope, receive: Receive, send: Send, query: Query) -> None:
    """Send the scope to the client, as JSON."""
    await receive()
    await send(accept(scope))
    await send({"type": "websocket.send", "text": json.dumps(_plain(scope))})
    await receive()


async def offer(scope: Scope, receive: Receive, send: Send, query: Query) -> None:
    """Accept with the subprotocol of the query, whatever the client offered."""
    await receive()
    await send({"type": "websocket.accept", "subprotocol": query.get("choose")})
    await receive()


# HTTP streams: /stream.


async def stream(scope: Scope, receive: Receive, send: Send, query: Query, body: bytes) -> None:
    """Hand the response to a session, which writes the request's body first; then do what the query says."""
    name, connection = query["name"], scope["extensions"]["clarion.connection"]
    mark()
    JOURNAL[name].append(["called"])
    if "late" in query:
        await GATES[name].wait()
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": int(query.get("status", "200")),
        "headers": [(b"content-type", b"text/event-stream"), (b"content-length", b"7"), (b"connection", b"keep-alive")],
    }
    if "header" in query:
        start["headers"].append((b"x-given", query["header"].encode()))
    if "begun" in query:
        await send(start)
    try:
        await send({**start, "clarion.session": session_of(connection, query)})
        connection.write(framed(connection, body))
        if query.get("then") == "body":
            await send({"type": "http.response.body", "body": b"the application's"})
            connection.write(framed(connection, b"the session's"))
            await send({**start, "clarion.session": Silent(connection)})
        if query.get("then") == "raise":
            raise RuntimeError("raised behind the detach")
        if query.get("then") == "stay":
            JOURNAL[name].append([(await receive())["type"]])
            await asyncio.sleep(60)
    except ValueError as exc:
        JOURNAL[name].append(["refused", str(exc)])
        raise
    except asyncio.CancelledError:
        JOURNAL[name].append(["cancelled"])
        raise
    finally:
        JOURNAL[name].append(["endpoint-finally"])


ENDPOINTS = {
    "echo": echo,
    "script": script,
    "before": before,
    "late": late,
    "detach": detach,
    "hold": hold,
    "sender": sender,
    "cancelling": cancelling,
    "slow_end": slow_end,
    "slow_answer": slow_answer,
    "scope": show_scope,
    "offer": offer,
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Route a scope to its endpoint."""
    if scope["type"] == "websocket":
        await ENDPOINTS[scope["path"].split("/")[2]](scope, receive, send, query_of(scope))
    elif scope["type"] == "http":
        await serve_http(scope, receive, send)


def query_of(scope: Scope) -> Query:
    query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
    query.setdefault("name", "")
    return query


async def serve_http(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the control operations and a few plain pages."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    path = scope["path"]
    if path == "/stream":
        await stream(scope, receive, send, query_of(scope), body)
        return
    if path == "/hang":
        JOURNAL["hang"].append(["entered"])
        try:
            await asyncio.sleep(60)
        finally:
            JOURNAL["hang"].append(["left"])
    if path == "/raise":
        raise RuntimeError("raised by an HTTP view")
    if path == "/slow":
        await asyncio.sleep(1)
    status, answer = 200, b"hello"
    if path.startswith("/control/"):
        status, answer = await _control(path.removeprefix("/control/"), body)
    elif path == "/scope":
        answer = json.dumps(_plain(scope)).encode()
    elif path == "/length":
        answer = str(len(body)).encode()
    elif path == "/large":
        answer = b"x" * 5_000_000
    headers = [(b"content-length", str(len(answer)).encode()), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _control(operation: str, body: bytes) -> tuple[int, bytes]:
    from controls import OPERATIONS

    try:
        result = OPERATIONS[operation](**json.loads(body or b"{}"))
        if asyncio.iscoroutine(result):
            result = await result
    except Exception as exc:  # noqa: BLE001 - the test gets it as the answer
        return 500, repr(exc).encode()
    return 200, json.dumps(result).encode()


def _plain(value: Any) -> Any:
    """Make a scope fit for JSON: bytes as Latin-1 text, unknown objects by their type's name."""
    if isinstance(value, bytes):
        return value.decode("latin1")
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__


def prepare(server: Any) -> None:
    """Register the shutdown hooks that `launch.py` sets before `run()`."""

    async def stop_subscriber() -> None:
        print("on_shutdown: subscriber stopped", flush=True)

    server.on_drain.append(lambda: print(f"on_drain: draining={server.draining}", flush=True))
    server.on_drain.append(lambda: time.sleep(1.0 if GATES["block"].is_set() else 0.0))
    server.on_shutdown.append(stop_subscriber)
    server.on_goodbye.append(deliver_late)


async def deliver_late() -> None:
    """Deliver what is "on its way", as a hub that asks Redis for what was published; or hang."""
    if GATES["hang"].is_set():
        await asyncio.sleep(60)
    await asyncio.sleep(0.01)
    while LATE:
        name, message = LATE.pop()
        SESSIONS[name].connection.write(text_frame(message.encode()))
