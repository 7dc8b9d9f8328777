"""A stock Django service beside Clarion: channels_redis's own pub/sub layer, ten lines of settings, nothing of ours.

It runs in a process of its own, so that nothing of the test's leaks into it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def stock_service(folder: Path, redis_url: str, prefix: str) -> Iterator[StockService]:
    """Run one that has joined the group ``chat:x``; its settings module stands in ``folder``."""
    settings = textwrap.dedent(SETTINGS) % {"redis": redis_url, "prefix": prefix}
    (folder / "stock_settings.py").write_text(settings)
    env = {"DJANGO_SETTINGS_MODULE": "stock_settings", "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        yield StockService(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0
