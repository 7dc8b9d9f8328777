"""Surveys: a question to every gateway, and their answers, in bounded time.

Who listens is counted by Redis when the question is published, so that a gateway that has just died is not waited for.

Source: docs/reference/server-api.md, "channels".
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any, Final, NamedTuple, cast
from uuid import uuid4

import redis
import structlog

from clarion.errors import LimitExceeded, RequestInvalid, TooManyRequests
from clarion.names import redis_control, redis_reply
from clarion.orders import ChannelsQuestion, answer_decode, message_encode
from clarion.presence import SyncPresence
from clarion.publisher import Publisher, get_publisher
from http_api.env import env
from http_api.errors import NoAnswer

log = structlog.get_logger(__name__)

SURVEY_S: Final = 2.0
"""How long gateways have to answer; milliseconds are usual."""

CHANNELS_MAX: Final = 100_000
"""Most channels of one answer: over it the caller has to name a pattern."""

_ASKING_MAX: Final = max(1, env.http_threads // 2)
"""Surveys of one worker at a time: each holds a thread, and the other threads are for the rest of the API."""

_asking = threading.BoundedSemaphore(_ASKING_MAX)


class _Heard(NamedTuple):
    """What came in time.

    Attributes:
        gateways: how many heard the question; whoever else listens counts, too.
        answered: uids of those that have answered to the end.
    """

    gateways: int
    answered: set[str]
    channels: dict[str, int]


def channels_ask(pattern: str) -> dict[str, int]:
    """Ask every gateway for its channels with subscribers, and add their numbers up.

    Args:
        pattern: a glob; "" is all.

    Raises:
        NoAnswer: a live gateway did not answer within ``SURVEY_S``.
        LimitExceeded: over ``CHANNELS_MAX``.
        TooManyRequests: half of this worker's threads are asking already.
        ChannelLayerUnavailable: Redis did not answer.
    """
    if not _asking.acquire(blocking=False):
        raise TooManyRequests
    try:
        publisher = get_publisher()
        question = ChannelsQuestion(uuid4().hex, pattern)
        shard = publisher.shard_of(redis_reply(publisher.prefix, question.id))
        heard: _Heard = publisher.call(shard, _ask, (publisher, question))
        _check(publisher, heard)
    finally:
        _asking.release()
    return heard.channels


def _check(publisher: Publisher, heard: _Heard) -> None:
    if len(heard.channels) > CHANNELS_MAX:
        raise LimitExceeded(f"more than {CHANNELS_MAX:,} channels have subscribers: name a pattern")
    if len(heard.answered) >= heard.gateways:
        return
    # Somebody who listened said nothing: a gateway that hangs, or one who is no gateway at all.
    silent = [str(facts["name"]) for facts in SyncPresence(publisher).nodes() if facts["uid"] not in heard.answered]
    if silent:
        log.warning("survey.unanswered", nodes=silent)
        raise NoAnswer(f"not answered in time by {len(silent)} of the gateways")


def _ask(client: redis.Redis, asked: tuple[Publisher, ChannelsQuestion]) -> _Heard:
    publisher, question = asked
    deadline = time.monotonic() + SURVEY_S
    heard = _Heard(0, set(), Counter())
    with client.pubsub() as ear:
        ear.subscribe(redis_reply(publisher.prefix, question.id))
        if _message(ear, deadline) is None:  # the confirmation: before it an answer might be lost
            return heard._replace(gateways=1)
        gateways = publisher.publish_raw(redis_control(publisher.prefix), message_encode(question))
        while len(heard.answered) < gateways and len(heard.channels) <= CHANNELS_MAX:
            message = _message(ear, deadline)
            if message is None:
                break
            _add(heard, message["data"])
    return heard._replace(gateways=gateways)


def _add(heard: _Heard, payload: bytes) -> None:
    try:
        answer = answer_decode(payload)
    except RequestInvalid as exc:
        log.warning("survey.malformed", error=exc.detail)
        return
    cast("Counter[str]", heard.channels).update(answer.channels)
    if answer.is_last:
        heard.answered.add(answer.node)


def _message(ear: Any, deadline: float) -> dict[str, Any] | None:
    """The next message, or None when the time is over."""
    while (left_s := deadline - time.monotonic()) > 0:
        if (message := ear.get_message(timeout=left_s)) is not None:
            return cast("dict[str, Any]", message)
    return None
