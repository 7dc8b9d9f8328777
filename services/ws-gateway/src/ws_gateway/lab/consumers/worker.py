"""A background task in another process, with progress; and a question that another service asks this consumer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from ws_gateway.lab.frames import LAYER_AWAY, LAYER_ERRORS, BadMessage, error, json_of, msg_of

STEPS_MAX = 100
NO_WORKER = error("no_worker", "no worker has reported for 5 seconds: none runs, all are busy, or it has died")


class WorkerLesson(AsyncWebsocketConsumer):
    """``{"msg": "start", "steps": 20}`` starts a task; a worker, in Clarion the notifier, reports each step."""

    silence_s = 5.0
    task: dict[str, Any] | None = None
    watch: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Say our name: http-api needs it to ask us something."""
        self.since = time.monotonic()
        await self.accept()
        node = getattr(settings, "CLARION_NODE", "")
        await self.send(json.dumps({"channel_name": self.channel_name, "node": node}))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Start a task, one at a time."""
        try:
            content = json_of(text_data)
            msg_of(content)
            answer = await self.start(content.get("steps", 20))
        except BadMessage as exc:
            answer = exc.frame
        except LAYER_ERRORS:
            answer = LAYER_AWAY
        await self.send(json.dumps(answer))

    async def start(self, steps: Any) -> dict[str, Any]:
        """Send the task to the workers' channel. Over pub/sub each of them receives it: they settle who takes it."""
        if type(steps) is not int or not 1 <= steps <= STEPS_MAX:
            return error("data_invalid", f'"steps" is a whole number from 1 to {STEPS_MAX}')
        if self.task is not None:
            return error("too_many_requests", "your task is running: wait for its end")
        task = {"type": "lab.task", "id": uuid.uuid4().hex, "reply_to": self.channel_name, "steps": steps}
        await self.channel_layer.send(getattr(settings, "CLARION_LAB_TASKS", "lab-tasks"), task)
        self.task = {"id": task["id"], "done": 0, "of": steps}
        self.expect_report()
        return {"task": self.task}

    async def task_progress(self, event: dict[str, Any]) -> None:
        """A worker has done a step."""
        if self.task is None or event["id"] != self.task["id"]:
            return  # of a task that we gave up
        self.task = {"id": event["id"], "done": event["done"], "of": event["of"], "worker": event["worker"]}
        await self.send(json.dumps({"task": self.task}))
        if event["done"] < event["of"]:
            self.expect_report()
        else:
            self.forget()

    def expect_report(self) -> None:
        """Start the wait for the next report; it must not wait here, where it would keep the report waiting."""
        if self.watch is not None:
            self.watch.cancel()
        self.watch = asyncio.create_task(self.give_up())

    async def give_up(self) -> None:
        """After a long silence say so: a message on a layer may be lost, and nobody would ever tell us."""
        await asyncio.sleep(self.silence_s)
        self.task = None
        with contextlib.suppress(OSError):  # the client has left, and the disconnect is on its way
            await self.send(json.dumps(NO_WORKER))

    def forget(self) -> None:
        """Expect no report any more."""
        self.task = None
        if self.watch is not None:
            self.watch.cancel()

    async def lab_question(self, event: dict[str, Any]) -> None:
        """Answer on the channel that the question names; the one who asked waits there, for two seconds."""
        answer = f"this socket has been open for {time.monotonic() - self.since:.1f} s"
        await self.send(json.dumps({"question": event["question"], "answer": answer}))
        reply = {
            "type": "lab.answer",
            "id": event["id"],
            "answer": answer,
            "node": getattr(settings, "CLARION_NODE", ""),
        }
        try:
            await self.channel_layer.send(event["reply_to"], reply)
        except LAYER_ERRORS:
            await self.send(json.dumps(LAYER_AWAY))

    async def direct_message(self, event: dict[str, Any]) -> None:
        """Show what the lesson "Direct" sent to our name: a type without a handler would close us with 1011."""
        await self.send(json.dumps({"msg": event["msg"], "from": event["from"]}))

    async def disconnect(self, code: int) -> None:
        """Stop waiting; the task itself goes on, and its reports reach nobody."""
        self.forget()
