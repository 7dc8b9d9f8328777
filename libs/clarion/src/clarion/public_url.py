"""The names of ``CLARION_PUBLIC_URL``: which Host and Origin headers are ours.

A loopback URL is a developer's, and the three names of loopback lead to the same port: whichever of them a browser was
given is served. Any other URL has one name.

Source: docs/reference/environment.md; RFC 6761 section 6.3 (``localhost``).
"""

from __future__ import annotations

from typing import Final

LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")


def public_hosts(public_url: str) -> list[str]:
    """The host of the URL, without its port, and the other names of it."""
    host = _split(public_url)[1]
    return [host, *(name for name in LOOPBACK_HOSTS if name != host)] if host in LOOPBACK_HOSTS else [host]


def public_origins(public_url: str) -> list[str]:
    """The origin of the URL, as browsers write it, and those of its other names, with the same port."""
    scheme, _, port = _split(public_url)
    return [f"{scheme}://{host}{port}" for host in public_hosts(public_url)]


def _split(public_url: str) -> tuple[str, str, str]:
    """``http``, ``[::1]``, ``:8080``; all in lower case, as browsers send them."""
    scheme, _, rest = public_url.lower().partition("://")
    host = rest.partition("]")[0] + "]" if rest.startswith("[") else rest.partition(":")[0]
    return scheme, host, rest.removeprefix(host)
