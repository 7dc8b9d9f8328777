"""The client's address behind a proxy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ForwardedBy:
    """The headers that the proxy in front sets; an empty name: not looked at.

    The proxy is told to replace, never to append. Should one append all the same, the last element is the one that
    it wrote itself: daphne takes the first, which any client can write.
    """

    address: bytes = b""
    port: bytes = b""
    scheme: bytes = b""

    @classmethod
    def named(cls, address: str | None, port: str | None, scheme: str | None) -> ForwardedBy:
        """Build from the headers' names as daphne's options give them."""
        names = [name.lower().encode("latin-1") if name else b"" for name in (address, port, scheme)]
        return cls(*names)

    def client(self, headers: Iterable[tuple[bytes, bytes]], peer: Address | None) -> Address | None:
        """Return the client's address and port (0: the proxy did not say), or the peer's."""
        address = _last(headers, self.address)
        if not address:
            return peer
        port = _last(headers, self.port)
        return address, int(port) if port.isascii() and port.isdigit() else 0

    def is_secure(self, headers: Iterable[tuple[bytes, bytes]], secure: bool) -> bool:
        """Tell whether the client came by TLS. Only where the address is taken from the proxy, as daphne does."""
        scheme = _last(headers, self.scheme) if _last(headers, self.address) else ""
        return scheme in ("https", "wss") if scheme in ("http", "https", "ws", "wss") else secure


def _last(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    value = b""
    if name:
        for found, candidate in headers:
            if found == name:
                value = candidate
    return value.rpartition(b",")[2].strip().decode("latin-1").lower()
