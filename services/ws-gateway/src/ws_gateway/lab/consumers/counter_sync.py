"""A counter that blocks: what a sync handler cannot do while it runs."""

from __future__ import annotations

import json
import time
from typing import Any

from channels.consumer import SyncConsumer
from channels.exceptions import StopConsumer

from ws_gateway.lab.frames import BadMessage, error, message_of
from ws_gateway.lab.limits import TooManyCounters, blocking_counters, interval_of, visitor_of


class SyncCounter(SyncConsumer):
    """On a message, count to 30, once a second.

    Channels gives a consumer one event at a time. So while it counts a second message waits, and is counted for when
    the first is done; and the disconnect waits too: the counter learns of it because ``send`` then raises OSError.
    """

    counts = 30

    def websocket_connect(self, message: dict[str, Any]) -> None:
        """Accept."""
        self.send({"type": "websocket.accept"})

    def websocket_receive(self, message: dict[str, Any]) -> None:
        """Count, and hold this thread for all that time."""
        try:
            message_of(message.get("text"))
            # So many at a time; over that the socket is closed, and everybody else's threads stay free.
            with blocking_counters.slot(visitor_of(self.scope)):
                self.count()
        except BadMessage as exc:
            self.answer(exc.frame)
        except TooManyCounters as exc:
            self.answer(error("too_many_requests", str(exc)))
            self.send({"type": "websocket.close", "code": 4429, "reason": "too many counters"})
        except OSError as exc:  # the client has left; a server older than ASGI 2.4 says nothing, and the count goes on
            raise StopConsumer from exc

    def count(self) -> None:
        """Send a number, sleep, 30 times."""
        for number in range(1, self.counts + 1):
            self.answer({"count": number})
            time.sleep(interval_of(self.scope))

    def answer(self, content: dict[str, Any]) -> None:
        """Send JSON."""
        self.send({"type": "websocket.send", "text": json.dumps(content)})

    def websocket_disconnect(self, message: dict[str, Any]) -> None:
        """Reached only when the client leaves while nothing is counted."""
        raise StopConsumer
