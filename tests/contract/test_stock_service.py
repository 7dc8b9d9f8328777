"""What a stock Channels service receives of what Clarion publishes, without nginx or gateway in between."""

from __future__ import annotations

from pathlib import Path

from clarion.publisher import Publisher
from tests.support.redis_server import RedisServer
from tests.support.stock_service import stock_service


def test_a_stock_service_receives_what_clarion_publishes(
    redis_server: RedisServer, layer_prefix: str, tmp_path: Path
) -> None:
    """A publication is a Channels message that a stock consumer handles in clarion_publication()."""
    data = {"text": "grüße", "n": [1, 2.5, None, {}, []]}
    publisher = Publisher([redis_server.url], prefix=layer_prefix)
    with stock_service(tmp_path, redis_server.url, layer_prefix) as service:
        service.ask({"send": {"type": "x"}})  # answered: its subscription stands
        assert service.ask({"receive": 1}) == {"type": "x"}
        publisher.publish("chat:x", data)
        assert service.ask({"receive": 1}) == {"type": "clarion.publication", "data": data}
    publisher.close()
