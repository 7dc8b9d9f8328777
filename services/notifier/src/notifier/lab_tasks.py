"""The lab's background tasks: do some steps, report each to the page that asked.

A layer's message reaches every notifier that listens, as pub/sub does: whoever is first to set the task's key runs it.
At most once: a task is lost if its notifier dies, or Redis is away when it is sent; the page notices the silence.

Source: services/ws-gateway, lesson "Worker"; docs/tutorial/channels.md.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from redis.asyncio import Redis

from clarion.connections import REDIS_ERRORS, async_options
from clarion.errors import ChannelLayerUnavailable, DataInvalid
from clarion.names import consumer_channel_check, lab_task_claim, lab_tasks_channel
from clarion.publications import Message
from notifier.retries import Backoff

log = structlog.stdlib.get_logger(__name__)

TASKS_MAX: Final = 10
"""Tasks of one notifier at a time: over it, tasks are left to other notifiers, or to nobody."""
STEPS_MAX: Final = 100
STEP_S: Final = 0.2
TASK_S: Final = 60.0
"""How long a task may take, whatever becomes of Redis meanwhile."""
CLAIM_S: Final = 600
"""How long a claim is kept; a task's message is delivered at once or never."""

_TASK_ID: Final = re.compile(r"[0-9a-f]{32}")


class TaskLayer(Protocol):
    """What is asked of a channel layer."""

    async def send(self, channel: str, message: Message) -> None:
        """Send a message to one layer channel."""

    async def receive(self, channel: str) -> Message:
        """Wait for the next message of a layer channel."""


@dataclass(frozen=True, slots=True)
class LabTask:
    """One task; ``reply_to`` is the channel of the consumer that hears of each step."""

    id: str
    reply_to: str
    steps: int


def task_of(message: Message, prefix: str) -> LabTask:
    """Check a task's message.

    Raises:
        NameInvalid: ``reply_to`` is not one consumer's own channel.
        DataInvalid: anything else is wrong.
    """
    task_id, steps = message.get("id"), message.get("steps")
    if message.get("type") != "lab.task" or not isinstance(task_id, str) or not _TASK_ID.fullmatch(task_id):
        raise DataInvalid("this is no task")
    if type(steps) is not int or not 1 <= steps <= STEPS_MAX:
        raise DataInvalid(f"a task has 1 to {STEPS_MAX} steps")
    return LabTask(task_id, consumer_channel_check(prefix, message.get("reply_to")), steps)


class LabTasks:
    """Takes tasks and runs them, a few at a time.

    Args:
        redis_url: where tasks are claimed; the same for all notifiers.
        prefix: the channel layer's prefix.
        node: this notifier's name, as the page shows it.
        timeout_s: how long Redis may take to answer.
        step_s: seconds of one step.
    """

    def __init__(
        self, layer: TaskLayer, *, redis_url: str, prefix: str, node: str, timeout_s: float, step_s: float = STEP_S
    ) -> None:
        self._layer = layer
        self._redis = Redis.from_url(redis_url, **async_options(timeout_s))
        self._prefix = prefix
        self._node = node
        self._step_s = step_s
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take tasks until cancelled; the tasks under way end with it."""
        try:
            backoff = Backoff()
            while True:
                if message := await self._next(backoff):
                    await self._take(message)
        finally:
            for running in self._running:
                running.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            await self._redis.aclose()

    async def _next(self, backoff: Backoff) -> Message | None:
        try:
            message = await self._layer.receive(lab_tasks_channel(self._prefix))
        except ChannelLayerUnavailable:  # it could not subscribe; once it has, an outage does not end the wait
            await asyncio.sleep(backoff.next_s())
            return None
        except Exception as exc:  # noqa: BLE001 - any service may publish anything; it must not end the notifier
            log.warning("lab_task.undecodable", error=type(exc).__name__)
            await asyncio.sleep(backoff.next_s())
            return None
        backoff.reset()
        return message

    async def _take(self, message: Any) -> None:
        """Claim a task and begin it, if there is room; one after the other, so that what is claimed is counted."""
        if len(self._running) >= TASKS_MAX:
            log.info("lab_task.left", running=len(self._running))
            return
        try:
            task = task_of(message if isinstance(message, dict) else {}, self._prefix)
            is_ours = await self._claim(task)
        except ValueError as exc:
            log.warning("lab_task.refused", error=str(exc))
        except REDIS_ERRORS as exc:
            log.warning("lab_task.claim_failed", error=type(exc).__name__)
        else:
            if is_ours:
                running = asyncio.get_running_loop().create_task(self._work(task))
                self._running.add(running)
                running.add_done_callback(self._ended)

    async def _claim(self, task: LabTask) -> bool:
        return bool(await self._redis.set(lab_task_claim(self._prefix, task.id), self._node, nx=True, ex=CLAIM_S))

    async def _work(self, task: LabTask) -> None:
        log.info("lab_task.started", task=task.id, steps=task.steps)
        async with asyncio.timeout(TASK_S):
            for done in range(1, task.steps + 1):
                await asyncio.sleep(self._step_s)
                await self._report(task, done)
        log.info("lab_task.done", task=task.id)

    async def _report(self, task: LabTask, done: int) -> None:
        """Tell the page. A report that is lost does no harm while another one follows: the last is tried again."""
        message = {"type": "task.progress", "id": task.id, "done": done, "of": task.steps, "worker": self._node}
        backoff = Backoff()
        while True:
            try:
                await self._layer.send(task.reply_to, message)
            except ChannelLayerUnavailable:
                if done < task.steps:
                    return
                await asyncio.sleep(backoff.next_s())
            else:
                return

    def _ended(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        if not running.cancelled() and (exc := running.exception()) is not None:
            log.error("lab_task.failed", error=repr(exc))
