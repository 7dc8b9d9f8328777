"""clarion.public_url: the names of loopback are one, every other host has one name."""

from __future__ import annotations

import pytest

from clarion.public_url import public_hosts, public_origins


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
@pytest.mark.parametrize(("scheme", "port"), [("http", ":8080"), ("https", ":8443"), ("http", "")])
def test_loopback_has_three_names_with_one_port(host: str, scheme: str, port: str) -> None:
    """Whichever the URL has, its own first; scheme and port are those of the URL."""
    hosts = public_hosts(f"{scheme}://{host}{port}")
    assert hosts[0] == host.lower()
    assert sorted(hosts) == ["127.0.0.1", "[::1]", "localhost"]
    assert public_origins(f"{scheme}://{host}{port}") == [f"{scheme}://{name}{port}" for name in hosts]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://push.example", "push.example"), ("https://push.example:8443", "push.example"),
        ("http://192.0.2.1:8080", "192.0.2.1"), ("http://[2001:db8::1]:8080", "[2001:db8::1]"),
        ("https://Push.Example", "push.example"), ("https://localhost.example", "localhost.example"),
        ("https://127.0.0.1.example", "127.0.0.1.example"), ("http://127.0.0.2", "127.0.0.2"),
    ],
)  # fmt: skip
def test_any_other_url_has_one_name(url: str, host: str) -> None:
    """A deployment is reached by its own name and by no other."""
    assert public_hosts(url) == [host]
    assert public_origins(url) == [url.lower()]
