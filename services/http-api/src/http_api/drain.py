"""Answer first, then take what is left of the body: an early refusal reaches a client that is still sending.

A refusal (401, 413) is answered before the body is read. gunicorn then reads at most 64 KiB of the rest and closes the
connection; a client that sends more gets a reset in the answer's place, and nginx would tell 502. So the rest is read
here, and thrown away, once the answer has left.

Source: RFC 9112 section 9.6; PEP 3333 ("close()").
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

DRAIN_MAX_BYTES: Final = 16 * 1024 * 1024
"""nginx lets 11 MiB through: whoever sends more than this is cut off."""

_SERVER_DRAINS_BYTES: Final = 65_536
_STALL_S: Final = 1.0
_DEADLINE_S: Final = 10.0
_CHUNK_BYTES: Final = 65_536


class DrainingApplication:
    """A WSGI application whose requests are read to their end, after the answer."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as the application does."""
        answer = self._application(environ, start_response)
        length = environ.get("CONTENT_LENGTH") or ""
        # What is small the server drains itself, so that nearly no answer pays for this.
        if length.isdecimal() and _SERVER_DRAINS_BYTES < int(length) <= DRAIN_MAX_BYTES:
            return _DrainedAfter(answer, environ)
        return answer


class _DrainedAfter:
    """An answer's parts; when the server closes it, it has sent them, and the body's rest is read."""

    def __init__(self, answer: Iterable[bytes], environ: dict[str, Any]) -> None:
        self._answer = answer
        self._environ = environ

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        """Close the answer, then drain."""
        try:
            if close := getattr(self._answer, "close", None):
                close()
        finally:
            # A client that stalls or has gone: the server finds out by itself, and closes.
            with contextlib.suppress(OSError):
                self._drain()

    def _drain(self) -> None:
        # A read waits for ever by default; who waits for the answer before sending more must not hold the thread.
        if (sock := self._environ.get("gunicorn.socket")) is not None:
            sock.settimeout(_STALL_S)
        end = time.monotonic() + _DEADLINE_S
        while self._environ["wsgi.input"].read(_CHUNK_BYTES) and time.monotonic() < end:
            pass
