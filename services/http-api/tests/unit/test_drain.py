"""http_api.drain: what is left of a body is read after the answer."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pytest

from http_api.drain import DRAIN_MAX_BYTES, DrainingApplication

Events = list[str]


class Body(io.BytesIO):
    """A request's body that says when it is read."""

    def __init__(self, size: int, events: Events, *, stalls: bool = False) -> None:
        super().__init__(b"x" * size)
        self._events = events
        self._stalls = stalls

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, or stall as a socket with a time-out does."""
        self._events.append("read")
        if self._stalls:
            raise TimeoutError("timed out")
        return super().read(size)


class Socket:
    """The client's socket, as far as draining touches it."""

    timeout: float | None = None

    def settimeout(self, timeout: float) -> None:
        """Remember it."""
        self.timeout = timeout


def answered(size: int, *, stalls: bool = False) -> tuple[Events, Body, Socket]:
    """Send a request through an application that reads nothing, as a server would."""
    events: Events = []

    class Answer:
        def __iter__(self) -> Any:
            events.append("sent")
            return iter([b"refused"])

        def close(self) -> None:
            events.append("closed")

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return Answer()

    body, sock = Body(size, events, stalls=stalls), Socket()
    environ = {"CONTENT_LENGTH": str(size), "wsgi.input": body, "gunicorn.socket": sock}
    parts = DrainingApplication(application)(environ, lambda *_: lambda _: None)
    assert b"".join(parts) == b"refused"
    parts.close()  # type: ignore[attr-defined]
    return events, body, sock


def test_a_body_is_drained_after_the_answer() -> None:
    """First the answer, then its close, then the rest of the body to its end, each read bounded in time."""
    events, body, sock = answered(1_000_000)
    assert events[:3] == ["sent", "closed", "read"]
    assert body.tell() == 1_000_000
    assert sock.timeout is not None


@pytest.mark.parametrize("size", [0, 65_536, DRAIN_MAX_BYTES + 1])
def test_small_and_absurd_bodies_are_left_to_the_server(size: int) -> None:
    """gunicorn drains a little by itself; whoever announces more than nginx lets through is cut off."""
    assert "read" not in answered(size)[0]


def test_a_client_that_stalls_is_let_go() -> None:
    """A time-out while draining is no error: the answer has left."""
    assert answered(1_000_000, stalls=True)[0] == ["sent", "closed", "read"]
