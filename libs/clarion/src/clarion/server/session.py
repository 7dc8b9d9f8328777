"""What a detached endpoint gives to the server: sans-I/O, called on the event loop, never concurrently.

No task runs while these are called: ``asyncio.current_task()`` is None, ``asyncio.timeout`` fails, and a task made here
needs a strong reference of the session's own (trap 44).

A session may also have two methods for the case that the server wants its client to go elsewhere:

- ``drain_wait() -> bool``: take no new work, and tell whether answers are under way that the client is still to get.
  While it returns True it is asked again, many times a second, for five seconds at most.
- ``drain()``: say goodbye in its own words (write, then close with its own code). What is still open when it returns is
  closed with 1012.

And ``slow()``, when more waits for the client than may: say so in its own words, behind what waits. What is still open
when it returns is closed with 1013.
"""

from __future__ import annotations

from typing import Protocol


class StreamSession(Protocol):
    """The owner of a response after ``{"type": "http.response.start", ..., "clarion.session": session}``.

    Nothing of what the client still sends reaches it.
    """

    def closed(self, code: int) -> None:
        """Learn that the socket is gone: exactly once, and the last call.

        Args:
            code: the peer's close code (1005: it gave none), the one this side closed with, or 1006 for a
                connection that was lost.
        """


class Session(StreamSession, Protocol):
    """The owner of a socket after ``{"type": "websocket.accept", "clarion.session": session}``."""

    def received(self, message: str | bytes) -> None:
        """Take one whole message. An exception is logged and closes the socket with 1011."""
