"""Ordinary opening handshakes: read as websockets reads them, or left to it."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.server import ordinary as module
from clarion.server.handshake import Negotiator, Refused
from clarion.server.ordinary import Opening, ordinary

LINES = [
    b"Host: push.example",
    b"Connection: Upgrade",
    b"Pragma: no-cache",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
    b"Upgrade: websocket",
    b"Origin: https://push.example",
    b"Sec-WebSocket-Version: 13",
    b"Accept-Encoding: gzip, deflate, br, zstd",
    b"Cookie: a=1; b=2",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    b"Sec-WebSocket-Protocol: clarion, eyJhbGciOiJIUzI1NiJ9.e30.x-_y",
]
FIRST = b"GET /ws/chat:a%20b/?since=1&epoch=x HTTP/1.1"
ODD = (
    b"Connection: close", b"Connection: Upgrade, , keep-alive", b"Connection: keep-alive, Upgrade", b"Upgrade: h2c",
    b"Upgrade: WebSocket", b"Sec-WebSocket-Version: 8", b"Sec-WebSocket-Key: short", b"Sec-WebSocket-Key: \xff",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==, x", b"Sec-WebSocket-Protocol: a,, b", b"Sec-WebSocket-Protocol: ",
    b"Origin: https://evil.example", b"Content-Length: 0", b"Content-Length: 5", b"Transfer-Encoding: chunked",
    b"X: \x00", b"X: a\rb", b"X: a\nb", b" folded", b"no colon", b": no name", b"X Y: space", b"X : space", b"X:",
    b"X:y", b"X:\ty\t", "Ä: y".encode(), "X: ä".encode("latin-1"), b"X-Long: " + b"l" * 9_000, b"x_y: 1",
)  # fmt: skip


def head(first: bytes, lines: list[bytes]) -> bytes:
    return b"\r\n".join([first, *lines]) + b"\r\n\r\n"


def by_websockets(raw: bytes) -> tuple[Opening, dict[str, str]] | None:
    """What websockets' own parser says, None for a refusal."""
    try:
        opening, response = Negotiator("")._judge(raw)
    except Refused:
        return None
    return opening, dict(response.headers.raw_items())


def check(raw: bytes) -> bool:
    """Whether a head is ordinary; then websockets must agree in everything but the second of the date."""
    found = ordinary(raw)
    if found is None:
        return False
    theirs = by_websockets(raw)
    assert theirs is not None
    opening, response = found
    headers = dict(response.headers.raw_items())
    assert opening == theirs[0]
    assert list(headers) == list(theirs[1])
    assert (
        abs((parsedate_to_datetime(headers.pop("Date")) - parsedate_to_datetime(theirs[1].pop("Date"))).total_seconds())
        < 5
    )
    assert headers == theirs[1]
    assert response.serialize().startswith(b"HTTP/1.1 101 Switching Protocols\r\nDate: ")
    return True


@pytest.mark.parametrize("without", [b"", b"Origin", b"Sec-WebSocket-Protocol", b"Cookie"])
def test_ordinary_takes_what_browsers_and_libraries_send(without: bytes) -> None:
    """With and without a page, a subprotocol, cookies."""
    assert check(head(FIRST, [line for line in LINES if not without or not line.startswith(without)]))


@pytest.mark.parametrize("missing", [b"Connection", b"Upgrade", b"Sec-WebSocket-Version", b"Sec-WebSocket-Key"])
def test_ordinary_leaves_what_misses_something(missing: bytes) -> None:
    """Refusing is websockets' part."""
    assert not check(head(FIRST, [line for line in LINES if not line.startswith(missing)]))


@pytest.mark.parametrize(
    "first",
    [
        b"POST / HTTP/1.1", b"GET / HTTP/1.0", b"GET / HTTP/2", b"GET  / HTTP/1.1", b"GET / x HTTP/1.1", b"GET /",
        b"GET /\t HTTP/1.1", b"GET  HTTP/1.1", b"get / HTTP/1.1", b"GET /\xc3\xa4 HTTP/1.1", b"GET /" + b"l" * 9_000,
    ],
)  # fmt: skip
def test_ordinary_leaves_other_request_lines(first: bytes) -> None:
    """Another method, another version, a path that is none."""
    assert not check(head(first, LINES))


@pytest.mark.parametrize("odd", ODD)
def test_ordinary_agrees_with_websockets_on_an_odd_line(odd: bytes) -> None:
    """It may take one, if websockets does, and reads the same from it; in addition, or in place of the good one."""
    name = odd.partition(b":")[0]
    check(head(FIRST, [*LINES, odd]))
    check(head(FIRST, [odd, *LINES]))
    check(head(FIRST, [odd, *(line for line in LINES if not line.startswith(name + b":"))]))


@given(
    lines=st.permutations([*LINES, *ODD]),
    count=st.integers(0, len(LINES) + 4),
    cut=st.integers(0, 400),
    inserted=st.binary(max_size=3),
)
def test_ordinary_agrees_with_websockets_on_any_head(lines: list[bytes], count: int, cut: int, inserted: bytes) -> None:
    """Whatever it takes, websockets takes and reads in the same way."""
    raw = head(FIRST, lines[:count])
    check(raw)
    check(raw[:cut] + inserted + raw[cut:])
    good = head(FIRST, LINES)
    check(good[:cut] + inserted + good[cut:])


def test_ordinary_keeps_a_bounded_number_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Header names come from strangers."""
    monkeypatch.setattr(module, "_names", {})
    for number in range(module._NAMES_MAX + 10):
        assert check(head(FIRST, [*LINES, b"X-%d: 1" % number]))
    assert len(module._names) == module._NAMES_MAX
