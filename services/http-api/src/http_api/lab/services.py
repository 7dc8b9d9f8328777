"""A question to one consumer and its answer: two services talk over the channel layer.

Source: services/ws-gateway, lesson "Worker"; docs/tutorial/channels.md.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final, cast
from uuid import uuid4

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from clarion.errors import TooManyRequests
from clarion.layers import ClarionChannelLayer
from clarion.names import consumer_channel_check
from clarion.publications import Message
from http_api.env import env
from http_api.errors import NoAnswer

ANSWER_S: Final = 2.0
ANSWER_MAX_CHARS: Final = 1_000
ASKING_MAX: Final = max(1, env.http_threads // 2)
"""Questions of one worker at a time: each holds a thread, and the other threads are for the rest of the API."""

_asking = threading.BoundedSemaphore(ASKING_MAX)


def question_ask(channel_name: str, question: str) -> dict[str, Any]:
    """Ask one consumer and return ``{"answer", "node"}``.

    At most once, both ways: no answer may as well be a lost one.

    Args:
        channel_name: the consumer's own (``self.channel_name``).

    Raises:
        NameInvalid: HTTP 400; the name is not one consumer's own.
        TooManyRequests: HTTP 429; ``ASKING_MAX`` questions are being asked.
        NoAnswer: HTTP 504; nobody answered within ``ANSWER_S``.
        ChannelLayerUnavailable: HTTP 503.
    """
    consumer_channel_check(env.layer_prefix, channel_name)
    if not _asking.acquire(blocking=False):
        raise TooManyRequests
    try:
        return async_to_sync(_ask)(channel_name, question)
    finally:
        _asking.release()


async def _ask(channel_name: str, question: str) -> dict[str, Any]:
    layer = cast("ClarionChannelLayer", get_channel_layer())
    try:
        # A channel of this request alone: no other answer can come here.
        reply_to = await layer.new_channel()
        question_id = uuid4().hex
        message = {"type": "lab.question", "id": question_id, "question": question, "reply_to": reply_to}
        await layer.send(channel_name, message)
        async with asyncio.timeout(ANSWER_S):
            return _answer_of(await layer.receive(reply_to), question_id)
    except TimeoutError as exc:
        raise NoAnswer from exc
    finally:
        # async_to_sync made an event loop for this call: its connections end with it.
        await layer.flush()


def _answer_of(message: Message, question_id: str) -> dict[str, Any]:
    answer, node = message.get("answer"), message.get("node")
    if message.get("id") != question_id or not isinstance(answer, str) or not isinstance(node, str):
        raise NoAnswer("what answered is no consumer of the lab")
    return {"answer": answer[:ANSWER_MAX_CHARS], "node": node[:ANSWER_MAX_CHARS]}
