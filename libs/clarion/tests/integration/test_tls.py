"""TLS to Redis and PostgreSQL with the URLs of docs/runbooks/first-deployment.md, on real servers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from django.db import OperationalError, connection

from clarion.addresses import database_url_check, redis_urls_check
from clarion.errors import ChannelLayerUnavailable
from clarion.layers import ClarionChannelLayer
from clarion.publisher import Publisher
from tests.support.certificates import Authority
from tests.support.databases import database_used
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.redis_server import redis_server

from .test_subscriber import listening

ROOT: Final = Path(__file__).resolve().parents[4]
PAGE: Final = (ROOT / "docs" / "runbooks" / "first-deployment.md").read_text()
POSTGRESQL: Final = re.findall(r"[`/\w](\?sslmode=[^`']+)", PAGE)
"""The query of every URL for PostgreSQL that the page shows."""
REDIS: Final = re.findall(r"`(\?ssl_[^`']+)`", PAGE)


@dataclass(frozen=True)
class Servers:
    """A PostgreSQL and a Redis whose certificate is for ``localhost``, and who signed it."""

    authority: Authority
    other: Authority
    postgresql: PostgresServer
    redis_port: int

    def redis_url(self, query: str, host: str = "localhost") -> str:
        """A URL of Redis; a path in the query is the authority's file."""
        return redis_urls_check(f"rediss://{host}:{self.redis_port}{_with_file(query, self.authority.file)}")

    def postgresql_url(self, query: str, authority: Authority, host: str = "localhost") -> str:
        """A URL of PostgreSQL; the path in the query is the authority's file."""
        server = f"postgres://clarion@{host}:{self.postgresql.port}"
        return database_url_check(f"{server}/postgres{_with_file(query, authority.file)}")


def _with_file(query: str, file: Path) -> str:
    return re.sub(r"=/[^&]*", f"={file}", query)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Both servers, with a certificate each."""
    folder = tmp_path_factory.mktemp("tls")
    authority, other = Authority(folder, "ours"), Authority(folder, "other")
    key, certificate = authority.issue(folder, "localhost")
    with postgres_server() as postgresql, redis_server() as redis:
        postgresql.tls_start(key, certificate)
        yield Servers(authority, other, postgresql, redis.tls_start(key, certificate))


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the images: nobody's home holds authorities."""
    monkeypatch.setenv("HOME", "/nonexistent")


def is_encrypted(url: str) -> bool:
    """Connect as the services do, and ask the server."""
    with database_used(url), connection.cursor() as cursor:
        cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        return bool(cursor.fetchone()[0])


def test_page_has_urls_for_either_authority() -> None:
    """A public one's file is in the image; one's own is a file of the Secret."""
    files = [{re.findall(r"=(/[^&]+)", query)[0] for query in queries} for queries in (POSTGRESQL, REDIS)]
    assert files == [{"/etc/ssl/certs/ca-certificates.crt", "/run/secrets/ca.pem"}, {"/run/secrets/ca.pem"}]


@pytest.mark.parametrize("query", sorted(set(POSTGRESQL)))
def test_postgresql_is_verified(servers: Servers, query: str, django_db_blocker: Any) -> None:
    """Encrypted if the authority and the name are right; another authority or another name is refused."""
    with django_db_blocker.unblock():
        assert is_encrypted(servers.postgresql_url(query, servers.authority))
        with pytest.raises(OperationalError, match="certificate verify failed"):
            is_encrypted(servers.postgresql_url(query, servers.other))
        with pytest.raises(OperationalError, match="does not match host name"):
            is_encrypted(servers.postgresql_url(query, servers.authority, "127.0.0.1"))


async def every_client(url: str) -> None:
    """Publish by the publisher and by the layer, and receive both by the gateway's subscriber and by the layer."""
    publisher, layer = Publisher([url]), ClarionChannelLayer([url])
    name = "asgi__group__chat:x"
    async with listening(url) as ear, asyncio.timeout(15):
        await ear.subscribe(name)
        member = await layer.new_channel()
        await layer.group_add("chat:x", member)
        await asyncio.to_thread(publisher.publish, "chat:x", {"n": 1})
        await layer.group_send("chat:x", {"type": "by.layer"})
        received = {(await layer.receive(member))["type"], (await layer.receive(member))["type"]}
        assert received == {"clarion.publication", "by.layer"}
        await ear.subscriber.settle()
        assert len(ear.heard(name)) == 2
    await layer.flush()
    publisher.close()


@pytest.mark.parametrize("query", REDIS)
async def test_redis_of_ones_own_authority(servers: Servers, query: str) -> None:
    """Every kind of client takes the authority from the URL, and what is to be checked."""
    await every_client(servers.redis_url(query))


async def test_redis_is_believed_by_the_strict(servers: Servers) -> None:
    """What Python 3.13, the images' one, checks unless told otherwise: a later Python passes these tests, too."""
    await every_client(servers.redis_url("?ssl_ca_certs=/&ssl_include_verify_flags=VERIFY_X509_STRICT"))


async def test_redis_of_a_public_authority(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a query those are trusted that the system trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(servers.authority.file))
    await every_client(servers.redis_url(""))


@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_redis_is_verified(servers: Servers, wrong: str) -> None:
    """Who signed it is not trusted, or it is another host's: nothing is sent."""
    url = servers.redis_url("") if wrong == "authority" else servers.redis_url("?ssl_ca_certs=/", "127.0.0.1")
    publisher, layer = Publisher([url]), ClarionChannelLayer([url])
    with pytest.raises(ChannelLayerUnavailable) as by_publisher:
        publisher.publish("chat:x", 1)
    with pytest.raises(ChannelLayerUnavailable) as by_layer:
        await layer.group_send("chat:x", {"type": "x"})
    for error in (by_publisher, by_layer):
        assert "certificate verify failed" in str(error.value.__cause__)
    publisher.close()
    await layer.flush()
