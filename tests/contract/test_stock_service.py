"""What a stock Channels service receives of what Clarion publishes, without nginx or gateway in between."""

from __future__ import annotations

from pathlib import Path

from clarion.namespaces import config_parse
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


def test_a_stock_service_meets_a_channel_with_history(
    redis_server: RedisServer, layer_prefix: str, tmp_path: Path
) -> None:
    """Offset, epoch and time are three more keys of the message; what it sends itself is live and not kept."""
    config = config_parse({"channel": {"namespaces": [{"name": "chat", "history_size": 5, "history_ttl": "60s"}]}})
    publisher = Publisher([redis_server.url], prefix=layer_prefix, config=config)
    with stock_service(tmp_path, redis_server.url, layer_prefix) as service:
        service.ask({"send": {"type": "x", "text": "plain"}})
        assert service.ask({"receive": 1}) == {"type": "x", "text": "plain"}
        told = publisher.publish("chat:x", {"e": [{}, []]}, tags={"k": "v"})
        message = service.ask({"receive": 1})
        assert isinstance(message, dict)
        assert message.pop("time") > 0
        assert message == {
            "type": "clarion.publication",
            "data": {"e": [{}, []]},
            "tags": {"k": "v"},
            "offset": 1,
            "epoch": told.epoch,
        }
        service.ask({"send": {"type": "x", "text": "plain"}})
        assert [item.offset for item in publisher.read("chat:x").publications] == [1]
    publisher.close()
