"""Publications that go on in the background of a test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.sdk_product import SdkProduct
from tests.support.waiting import wait_until

PAUSE_S = 0.03


class Flow:
    """Publishes ``{"n": 1}`` and on to a channel by REST.

    Attributes:
        sent: what has been published.
    """

    def __init__(self, product: SdkProduct, channel: str, pause_s: float) -> None:
        self._pause_s = pause_s
        self.sent: list[Any] = []
        self._product = product
        self._channel = channel
        self._failure: BaseException | None = None
        self._is_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait_more(self, count: int) -> None:
        """Wait until more have been published."""
        wanted = len(self.sent) + count
        wait_until(lambda: self._failure or len(self.sent) >= wanted, what=f"{count} more publications")

    def end(self) -> None:
        """Stop; what could not be published is raised."""
        self._is_ended.set()
        self._thread.join(30)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._is_ended.wait(self._pause_s):
                value = {"n": len(self.sent) + 1}
                self._product.send(self._channel, value)
                self.sent.append(value)
        except BaseException as exc:  # noqa: BLE001 - raised in the test by end()
            self._failure = exc


@contextmanager
def flow(product: SdkProduct, channel: str, *, pause_s: float = PAUSE_S) -> Iterator[Flow]:
    """Publish to a channel for the length of a ``with`` block."""
    made = Flow(product, channel, pause_s)
    made.start()
    try:
        yield made
    finally:
        made.end()
