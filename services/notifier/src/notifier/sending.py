"""Sending one claim's messages: in order per channel, several channels at a time.

Source: docs/explanation/outbox.md, "Failures".
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

import structlog

from clarion.errors import ChannelLayerUnavailable, ClarionError
from clarion.outbox.claims import ClaimedMessage, Failure
from clarion.publications import Message, publication
from clarion.values import json_decode
from notifier.retries import row_retry_s

log = structlog.stdlib.get_logger(__name__)

LANES: Final = 8
"""Channels at a time: enough to hide the way to Redis and back."""


class Layer(Protocol):
    """What is asked of a channel layer."""

    async def publication_send(
        self, channel: str, message: Message, *, publication_id: str, idempotency_key: str
    ) -> object:
        """Send a publication to a channel, unless that key has been used there."""

    async def flush(self) -> None:
        """Close its connections."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a row may fail by itself, and the wait after its first failure."""

    attempts: int
    first_s: float


@dataclass(slots=True)
class Outcome:
    """What became of a claim's messages; each is in exactly one of the lists.

    Attributes:
        is_outage: Redis was away; what was not sent is in ``released``, untouched.
    """

    sent: list[UUID] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    released: list[UUID] = field(default_factory=list)
    is_outage: bool = False


class Sender:
    """Sends claimed messages to their channels' groups."""

    def __init__(self, layer: Layer, policy: RetryPolicy) -> None:
        self._layer = layer
        self._policy = policy

    async def send(self, messages: Sequence[ClaimedMessage], lease_end_s: float) -> Outcome:
        """Send what the lease leaves time for.

        Args:
            messages: of each channel in the order in which they are to be sent.
            lease_end_s: ``time.monotonic()`` after which the rows may be another notifier's.
        """
        outcome = Outcome()
        channels: dict[str, list[ClaimedMessage]] = {}
        for message in messages:
            channels.setdefault(message.channel, []).append(message)
        # One iterator for all lanes: each takes the next channel when it has done one.
        queue = iter(channels.values())
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(LANES, len(channels))):
                lanes.create_task(self._lane(queue, outcome, lease_end_s))
        return outcome

    async def _lane(self, queue: Iterable[list[ClaimedMessage]], outcome: Outcome, lease_end_s: float) -> None:
        for messages in queue:
            await self._channel(messages, outcome, lease_end_s)

    async def _channel(self, messages: list[ClaimedMessage], outcome: Outcome, lease_end_s: float) -> None:
        """Send one channel's messages up to the first that fails: what is behind it waits for it."""
        left = deque(messages)
        is_going_on = True
        while left and is_going_on:
            if outcome.is_outage or time.monotonic() > lease_end_s:
                break
            is_going_on = await self._message(left.popleft(), outcome)
        outcome.released += [message.id for message in left]

    async def _message(self, message: ClaimedMessage, outcome: Outcome) -> bool:
        """Send one message and note what became of it. Returns whether the next one may follow."""
        try:
            await self._publish(message)
        except ChannelLayerUnavailable:
            # It may have arrived all the same: then Redis knows the key, and the next try sends nothing.
            outcome.is_outage = True
            outcome.released.append(message.id)
            return False
        except Exception as exc:  # noqa: BLE001 - one row's boundary: whatever is wrong with it, others go on
            outcome.failed.append(self._failure(message, exc))
            return False
        outcome.sent.append(message.id)
        return True

    async def _publish(self, message: ClaimedMessage) -> None:
        tags = json_decode(message.tags.encode()) if message.tags else None
        await self._layer.publication_send(
            message.channel,
            publication(json_decode(message.data.encode()), tags=tags),
            publication_id=str(message.id),
            idempotency_key=message.idempotency_key or str(message.id),
        )

    def _failure(self, message: ClaimedMessage, exc: Exception) -> Failure:
        attempts = message.attempts + 1
        is_dead = attempts >= self._policy.attempts
        retry_in_s = None if is_dead else row_retry_s(attempts, self._policy.first_s)
        # Only our own errors' texts are known to hold no payload.
        error = f"{exc.code}: {exc.detail}" if isinstance(exc, ClarionError) else type(exc).__name__
        log.warning(
            "message.died" if is_dead else "message.failed",
            message_id=str(message.id),
            attempts=attempts,
            error=error,
            retry_in_s=retry_in_s,
        )
        return Failure(message.id, error, retry_in_s)
