"""The client's address behind a proxy."""

from __future__ import annotations

import pytest

from clarion.server.proxy import ForwardedBy

NGINX = ForwardedBy.named("X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto")
PEER = ("127.0.0.1", 5000)


def for_header(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value) for value in values]


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ([], PEER),
        (for_header(b"203.0.113.9"), ("203.0.113.9", 0)),
        (for_header(b"6.6.6.6, 203.0.113.9"), ("203.0.113.9", 0)),
        (for_header(b"6.6.6.6", b"203.0.113.9"), ("203.0.113.9", 0)),
        (for_header(b""), PEER),
        (for_header(b"2001:db8::1"), ("2001:db8::1", 0)),
        ([*for_header(b"203.0.113.9"), (b"x-forwarded-port", b"443")], ("203.0.113.9", 443)),
        ([*for_header(b"203.0.113.9"), (b"x-forwarded-port", b"x")], ("203.0.113.9", 0)),
        ([*for_header(b"203.0.113.9"), (b"x-forwarded-port", "²".encode("latin-1"))], ("203.0.113.9", 0)),
        ([(b"x-real-ip", b"6.6.6.6")], PEER),
    ],
)
def test_client_is_what_the_proxy_wrote(headers: list[tuple[bytes, bytes]], client: tuple[str, int]) -> None:
    """The last element counts: the ones before it can be anybody's. Another header counts for nothing."""
    assert NGINX.client(headers, PEER) == client


def test_no_header_is_trusted_unasked() -> None:
    """Without the option the peer is the client, whatever the headers say."""
    assert ForwardedBy.named(None, None, None).client(for_header(b"6.6.6.6"), PEER) == PEER


@pytest.mark.parametrize(("scheme", "secure"), [(b"https", True), (b"wss", True), (b"http", False), (b"gopher", True)])
def test_scheme_is_the_proxys(scheme: bytes, secure: bool) -> None:
    """A scheme that is none changes nothing."""
    headers = [*for_header(b"203.0.113.9"), (b"x-forwarded-proto", scheme)]
    assert NGINX.is_secure(headers, secure=True) is secure
    assert NGINX.is_secure([(b"x-forwarded-proto", scheme)], secure=False) is False
