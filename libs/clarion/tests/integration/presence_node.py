"""A gateway's presence as Redis sees it, and what the members of a channel are told."""

from __future__ import annotations

from typing import Any

import redis

from clarion.names import redis_group, redis_node, redis_node_entries, redis_nodes, redis_presence
from clarion.presence import Entry
from clarion.presence_scripts import BEAT, FAREWELL, REAP, WRITE
from clarion.publisher import Publisher

DEAD_MS, LATE_MS, GRACE_MS = 7_000, 3_000, 4_000


class Node:
    """A gateway as Redis sees it."""

    def __init__(self, client: redis.Redis, prefix: str, uid: str) -> None:
        self.client = client
        self.prefix = prefix
        self.uid = uid
        self.nodes, self.key = redis_nodes(prefix), redis_node(prefix, uid)
        self.entries = redis_node_entries(prefix, uid)
        self.prefixes = redis_presence(prefix, ""), redis_group(prefix, "")

    def beat(self) -> Any:
        return self._run(BEAT, 2, self.nodes, self.key, self.uid, f'{{"uid":"{self.uid}"}}', 15, LATE_MS)

    def write(self, number: int, *changes: tuple[Any, ...]) -> Any:
        words = [word for change in changes for word in change]
        keys = (3, self.key, self.entries, self.nodes)
        return self._run(WRITE, *keys, self.uid, number, *self.prefixes, 15, *words)

    def value(self, client: str, *, is_told: bool = True, user: str = "7") -> bytes:
        leave = Publisher([], prefix="p")._commands.serialize(
            {"type": "clarion.leave", "info": {"user": user, "client": client}}
        )
        return Entry(self.uid.encode(), user.encode(), True, is_told, leave).value

    def enter(self, channel: str, client: str, *, kind: str = "enter", message: str = "join", **how: Any) -> Any:
        return kind, channel, client, self.value(client, **how), message

    def reap(self, most: int = 256) -> Any:
        prefixes = (*self.prefixes, redis_node(self.prefix, ""), redis_node_entries(self.prefix, ""))
        return self._run(REAP, 1, self.nodes, self.uid, DEAD_MS, LATE_MS, GRACE_MS, most, *prefixes)

    def farewell(self) -> None:
        self._run(FAREWELL, 3, self.nodes, self.key, self.entries, self.uid)

    def die(self) -> None:
        """As if nothing had been heard of it for a long time."""
        self.client.zadd(self.nodes, {self.uid: 1}, xx=True)

    def steady(self) -> None:
        """As if it had beaten without a gap for a long time."""
        self.beat()
        self.client.hset(self.key, "s", 1)

    def _run(self, script: Any, *words: Any) -> Any:
        return self.client.execute_command("EVAL", script.text, *words)


class Heard:
    """What a channel's members are told."""

    def __init__(self, client: redis.Redis, prefix: str, channel: str) -> None:
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(redis_group(prefix, channel))
        self._pubsub.get_message(timeout=20)

    def all(self) -> list[bytes]:
        found = []
        while message := self._pubsub.get_message(timeout=0.3):
            found.append(message["data"])
        return found
