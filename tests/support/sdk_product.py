"""A product for the SDKs' tests: a configuration that has everything, and tokens signed here."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx
import jwt
import redis

from clarion.names import redis_meta, redis_stream
from tests.support.product import Product
from tests.support.rest_client import publications_path

SECRET: Final = "the-secret-of-the-sdk-tests-0123456789abcdef"
PING_INTERVAL_S: Final = 4.0
STALE_S: Final = 3.0
GRACE_S: Final = 4.0
CONNECTIONS_PER_USER: Final = 8

_CONFIG: Final = f"""
[client]
ping_interval = "{PING_INTERVAL_S:g}s"
pong_timeout = "3s"
stale_close_delay = "{STALE_S:g}s"
expired_close_delay = "{GRACE_S:g}s"
expired_sub_close_delay = "{GRACE_S:g}s"
user_connection_limit = {CONNECTIONS_PER_USER}

[limits]
commands_per_s = 10
commands_burst = 100

[client.token]
hmac_secret_key = "{SECRET}"

[client.subscribe_to_user_personal_channel]
enabled = true

# Nothing but live.
[[channel.namespaces]]
name = "live"
allow_subscribe_for_client = true
allow_publish_for_client = true

# Everything.
[[channel.namespaces]]
name = "kept"
history_size = 5000
history_ttl = "300s"
force_recovery = true
presence = true
join_leave = true
allow_subscribe_for_client = true
allow_publish_for_client = true
allow_history_for_client = true
allow_presence_for_client = true
allow_tags_filter = true
allowed_delta_types = ["fossil"]
delta_publish = true

# A client has to ask for what it wants.
[[channel.namespaces]]
name = "asked"
history_size = 1000
history_ttl = "300s"
allow_recovery = true
allow_positioning = true
allow_subscribe_for_client = true

# A window of ten.
[[channel.namespaces]]
name = "window"
history_size = 10
history_ttl = "300s"
force_recovery = true
allow_subscribe_for_client = true
allow_history_for_client = true

# The newest alone.
[[channel.namespaces]]
name = "latest"
history_size = 1
history_ttl = "300s"
force_recovery = true
force_recovery_mode = "cache"
allow_subscribe_for_client = true

# By token alone.
[[channel.namespaces]]
name = "closed"
history_size = 100
history_ttl = "300s"
force_recovery = true
presence = true
"""


class SdkProduct(Product):
    """A running product with this configuration and two gateways.

    Args:
        client: more lines of the configuration's table ``client``.
        times: options of that table that have other values here.
        env: more variables.
    """

    def __init__(
        self, *, client: str = "", times: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(gateways=2, env={"CLARION_RPC_MODULES": "tests.support.sdk_rpc", **(env or {})})
        config = self.folder / "clarion.toml"
        text = _CONFIG.replace("[client]\n", f"[client]\n{client}\n", 1)
        for option, value in (times or {}).items():
            text = re.sub(rf'^{option} = ".*"$', f'{option} = "{value}"', text, count=1, flags=re.MULTILINE)
        config.write_text(text)
        self.env["CLARION_CONFIG"] = str(config)
        self.http: httpx.Client | None = None

    def start(self) -> None:
        """See :class:`Product`."""
        super().start()
        self.http = self.client()  # one for all of a session's calls: publishing is fast

    def destroy(self) -> str:
        """See :class:`Product`."""
        if self.http is not None:
            self.http.close()
        return super().destroy()

    def send(self, channel: str, data: Any, **more: Any) -> None:
        """Publish by REST; ``tags`` and ``idempotency_key`` are possible."""
        assert self.http
        answer = self.http.post(publications_path(channel), json={"data": data, **more})
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text

    def redis(self) -> redis.Redis:
        """A client of the product's Redis; close it after use."""
        found: redis.Redis = redis.Redis.from_url(self.dev["redis_url"], socket_timeout=5)
        return found

    def forget(self, channel: str) -> None:
        """Lose a channel's stream, as a Redis that restarts without its data does."""
        prefix = self.dev["layer_prefix"]
        with self.redis() as client:
            client.delete(redis_meta(prefix, channel), redis_stream(prefix, channel))


def token(user: str, *, ttl_s: float = 600, **claims: Any) -> str:
    """A connection token; ``info``, ``channels``, ``subs`` and the like are possible."""
    return jwt.encode({"sub": user, "exp": int(time.time() + ttl_s), **claims}, SECRET, "HS256")


def subscription_token(user: str, channel: str, *, ttl_s: float = 600, **claims: Any) -> str:
    """A token with which a user may subscribe to a channel."""
    return token(user, ttl_s=ttl_s, channel=channel, **claims)


@contextmanager
def sdk_product(**options: Any) -> Iterator[SdkProduct]:
    """Run such a product, with the options of the class, for the length of a ``with`` block."""
    made = SdkProduct(**options)
    try:
        made.start()
        yield made
        code = made.stop()
        assert code == 0, f"make up ended with code {code}:\n{made.text[-3000:]}"
    finally:
        left = made.destroy()
    assert not left, f"left after the end: {left}"
