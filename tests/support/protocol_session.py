"""A session without sockets: commands in as dicts, what it says out as dicts, effects as they are."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from clarion.namespaces import ClarionConfig, config_parse
from clarion.tokens import TokenVerifier, token_make
from clarion.tokens.algorithms import jws
from ws_gateway.protocol.codec import JSON_CODEC
from ws_gateway.protocol.effects import Effect, Join
from ws_gateway.protocol.replies import Reply, SubscribeResult
from ws_gateway.protocol.session import Rules, Session

SECRET = "a-secret-of-at-least-thirty-two-characters"
NAMESPACES: list[dict[str, Any]] = [
    {"name": "open", "allow_subscribe_for_client": True, "allow_publish_for_client": True},
    {"name": "closed"},
    {
        "name": "kept",
        "history_size": 100,
        "history_ttl": "300s",
        "force_recovery": True,
        "allow_subscribe_for_client": True,
        "allow_history_for_subscriber": True,
        "presence": True,
        "join_leave": True,
        "allow_presence_for_subscriber": True,
    },
]


def config_of(client: dict[str, Any] | None = None, **tables: Any) -> ClarionConfig:
    """A configuration with the namespaces of these tests."""
    return config_parse({"client": client or {}, "channel": {"namespaces": NAMESPACES}, **tables})


def token_of(**claims: Any) -> str:
    """A token with these claims."""
    return jws.encode(msgspec.json.encode(claims), SECRET, "HS256")


class Driver:
    """Drives one session by hand.

    Attributes:
        now: the session's clock; a test moves it.
        effects: what the session wants done and nobody has done yet.
    """

    def __init__(self, config: ClarionConfig | None = None, **options: Any) -> None:
        self.now = 1_000.0
        self.users: dict[str, int] = {}
        self.effects: list[Effect] = []
        config = config or config_of()
        self.rules = Rules(
            config,
            TokenVerifier(config, SECRET),
            node="gateway-1",
            version="clarion test",
            methods={"echo"},
            wall=time.time,
            connections_of=lambda user: self.users.get(user, 0),
        )
        self.session = Session(self.rules, "client-1", self.now, **options)
        self._id = 0

    def send(self, **methods: Any) -> list[dict[str, Any]]:
        """Send one command with the next id; returns what the session said."""
        self._id += 1
        return self.raw({"id": self._id, **methods})

    def raw(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        """Send one command as it is."""
        for parsed in JSON_CODEC.commands(msgspec.json.encode(command)):
            self.session.command(parsed, self.now)
        return self.said()

    def connect(self, user: str = "alice", **options: Any) -> list[dict[str, Any]]:
        """Connect with a token for a user."""
        token, _ = token_make(SECRET, user, **options)
        return self.send(connect={"token": token})

    def said(self) -> list[dict[str, Any]]:
        """What the session has said since; effects go to :attr:`effects`."""
        replies = []
        while outs := self.session.take():
            for out in outs:
                if isinstance(out, Reply):
                    replies.append(msgspec.json.decode(JSON_CODEC.reply(out)))
                else:
                    self.effects.append(out)
        return replies

    def effect(self, kind: type[Any]) -> Any:
        """Take out the one effect of a kind."""
        [found] = [effect for effect in self.effects if type(effect) is kind]
        self.effects.remove(found)
        return found

    def joined(self, result: SubscribeResult | None = None) -> list[dict[str, Any]]:
        """Let the one channel that is being joined be joined."""
        self.session.joined(self.effect(Join), result or SubscribeResult(), self.now)
        return self.said()

    def after(self, seconds: float, *, pongs: bool = True) -> list[dict[str, Any]]:
        """Let time pass, as the driver would: tick when it is due.

        Args:
            pongs: the client answers pings, which are left out of what is returned.
        """
        end = self.now + seconds
        said: list[dict[str, Any]] = []
        while not self.session.is_closed and self.session.due <= end:
            self.now = max(self.now, self.session.due)
            self.session.tick(self.now)
            for reply in self.said():
                if reply or not pongs:
                    said.append(reply)
                else:
                    self.raw({})
        self.now = end
        return said
