"""A stock Django service beside Clarion: channels_redis's own pub/sub layer, ten lines of settings, nothing of ours.

It sends to our clients and receives what we publish; the same in the other direction. The service runs in a process of
its own, so that nothing here leaks into it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from clarion.publisher import Publisher
from tests.support.redis_server import RedisServer

SETTINGS = """
    SECRET_KEY = "a stock service"
    INSTALLED_APPS = ["channels"]
    USE_TZ = True
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": ["%(redis)s"], "prefix": "%(prefix)s"},
        }
    }
"""

PROGRAM = """
    import asyncio, json, sys
    import django; django.setup()
    from channels.layers import get_channel_layer

    async def main():
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add("chat:x", channel)
        for line in iter(sys.stdin.readline, ""):
            command = json.loads(line)
            if "send" in command:
                await layer.group_send("chat:x", command["send"])
                print(json.dumps("sent"), flush=True)
            else:
                print(json.dumps(await asyncio.wait_for(layer.receive(channel), 20)), flush=True)

    asyncio.run(main())
"""


class StockService:
    """The process; one JSON line in, one out."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, command: dict[str, object]) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture
def stock_service(redis_server: RedisServer, layer_prefix: str, tmp_path: Path) -> Iterator[StockService]:
    settings = textwrap.dedent(SETTINGS) % {"redis": redis_server.url, "prefix": layer_prefix}
    (tmp_path / "stock_settings.py").write_text(settings)
    env = {"DJANGO_SETTINGS_MODULE": "stock_settings", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        yield StockService(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0


def test_a_stock_service_receives_what_clarion_publishes(
    redis_server: RedisServer, layer_prefix: str, stock_service: StockService
) -> None:
    """A publication is a Channels message that a stock consumer handles in clarion_publication()."""
    publisher = Publisher([redis_server.url], prefix=layer_prefix)
    data = {"text": "grüße", "n": [1, 2.5, None, {}, []]}
    stock_service.ask({"send": {"type": "x"}})  # answered: its subscription stands
    assert stock_service.ask({"receive": 1}) == {"type": "x"}
    publisher.publish("chat:x", data)
    publisher.close()
    assert stock_service.ask({"receive": 1}) == {"type": "clarion.publication", "data": data}
