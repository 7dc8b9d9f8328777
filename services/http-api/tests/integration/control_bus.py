"""The control bus as gateways hear it: one that listens, and gateways that answer as real ones do."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import msgspec
import redis

from clarion.names import redis_control, redis_node, redis_nodes, redis_reply
from clarion.orders import ChannelsAnswer, ChannelsQuestion, Order, message_encode, order_decode
from clarion.publisher import Publisher

from .http_service import HttpService


class ControlEar:
    """Hears every order, as a gateway does, and says nothing."""

    def __init__(self, url: str, service: HttpService) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=30)
        self._pubsub = self._client.pubsub()
        self._pubsub.subscribe(redis_control(service.prefix))
        assert self._pubsub.get_message(timeout=30)

    def __enter__(self) -> ControlEar:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._pubsub.close()
        self._client.close()

    def next(self) -> Order:
        """The next order."""
        message = self._pubsub.get_message(timeout=30)
        assert message, "nothing arrived"
        return order_decode(message["data"])


class AnsweringGateway:
    """Answers surveys as a gateway does, in a thread: with parts, all but the last of them marked so.

    Args:
        url: of Redis; of several shards, with commas between.
        parts: the channels that it tells; none: it hears and says nothing.
        raw: sent before the parts.
        breaks_off: the last part is kept back.
    """

    def __init__(
        self,
        url: str,
        service: HttpService,
        uid: str,
        parts: Sequence[dict[str, int]] = (),
        *,
        raw: bytes | None = None,
        breaks_off: bool = False,
    ) -> None:
        self.uid = uid
        self.patterns: list[str] = []
        self._parts = parts
        self._raw = raw
        self._breaks_off = breaks_off
        self._prefix = service.prefix
        self._publisher = Publisher(url.split(","), prefix=self._prefix)
        self._clients = [redis.Redis.from_url(shard, socket_timeout=30) for shard in url.split(",")]
        control = redis_control(self._prefix)
        self._pubsub = self._clients[self._publisher.shard_of(control)].pubsub()
        self._pubsub.subscribe(control)
        assert self._pubsub.get_message(timeout=30)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def beat(self) -> None:
        """Say once that it lives; good for some seconds."""
        facts: dict[str, Any] = {"uid": self.uid, "name": f"name-of-{self.uid}", "version": "1", "uptime": 7}
        for client in self._clients:
            client.zadd(redis_nodes(self._prefix), {self.uid: time.time() * 1000})
            client.hset(redis_node(self._prefix, self.uid), "f", msgspec.json.encode(facts))

    def __enter__(self) -> AnsweringGateway:
        self.beat()
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(30)
        self._pubsub.close()
        self._publisher.close()
        for client in self._clients:
            client.zrem(redis_nodes(self._prefix), self.uid)
            client.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            message = self._pubsub.get_message(timeout=0.1)
            order = order_decode(message["data"]) if message else None
            if isinstance(order, ChannelsQuestion):
                self.patterns.append(order.pattern)
                self._answer(redis_reply(self._prefix, order.id))

    def _answer(self, name: str) -> None:
        if self._raw is not None:
            self._publisher.publish_raw(name, self._raw)
        for number, part in enumerate(self._parts, 1):
            is_last = number == len(self._parts)
            if not (is_last and self._breaks_off):
                self._publisher.publish_raw(name, message_encode(ChannelsAnswer(self.uid, part, is_last)))
