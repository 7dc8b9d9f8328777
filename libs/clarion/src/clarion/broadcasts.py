"""One publication to many channels: the commands of a shard travel together.

Source: docs/reference/server-api.md, "broadcast"; ADR-0006.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import redis
from redis.exceptions import NoScriptError

from clarion.errors import ChannelLayerUnavailable, ClarionError
from clarion.publications import Published
from clarion.redis_commands import Command, published_of

Call: TypeAlias = Callable[[int, Callable[[redis.Redis, Any], Any], Any], Any]
"""``call(shard, send, what)`` runs ``send(client, what)`` (:meth:`clarion.publisher.Publisher.call`)."""


class Sending(NamedTuple):
    """One publication to one channel, ready to be sent."""

    channel: str
    publication_id: str
    command: Command


def send_all(call: Call, sendings: Sequence[Sending | ClarionError], *, most: int) -> list[Published | ClarionError]:
    """Send them, those of a shard in pipelines of at most ``most``; what is refused already stays so."""
    answers: list[Any] = list(sendings)
    by_shard: dict[int, list[int]] = {}
    for place, sending in enumerate(sendings):
        if isinstance(sending, Sending):
            by_shard.setdefault(sending.command.shard, []).append(place)
    for shard, places in by_shard.items():
        for start in range(0, len(places), most):
            some = places[start : start + most]
            for place, answer in zip(some, _sent(call, shard, [answers[place] for place in some]), strict=True):
                answers[place] = answer
    return answers


def _sent(call: Call, shard: int, sendings: list[Sending]) -> Iterable[Published | ClarionError]:
    try:
        answers = call(shard, _pipelined, [sending.command for sending in sendings])
    except ChannelLayerUnavailable as exc:
        return [exc] * len(sendings)
    return map(_answer_of, sendings, answers)


def _answer_of(sending: Sending, answer: Any) -> Published | ClarionError:
    if not isinstance(answer, Exception):
        return published_of(sending.channel, sending.publication_id, answer)
    refused = ChannelLayerUnavailable()
    refused.__cause__ = answer
    return refused


def _pipelined(client: redis.Redis, commands: list[Command]) -> list[Any]:
    """Answers in the commands' order; what Redis refused is an exception in its place."""
    answers = _executed(client, [command.short for command in commands])
    unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if unknown:  # nothing of these has been done yet
        again = _executed(client, [commands[place].full for place in unknown])
        for place, answer in zip(unknown, again, strict=True):
            answers[place] = answer
    return answers


def _executed(client: redis.Redis, commands: list[tuple[Any, ...]]) -> list[Any]:
    with client.pipeline(transaction=False) as pipeline:
        for words in commands:
            pipeline.execute_command(*words)
        return list(pipeline.execute(raise_on_error=False))
