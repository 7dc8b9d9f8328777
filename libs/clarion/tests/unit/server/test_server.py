"""clarion.server.Server stands in for daphne's."""

from __future__ import annotations

import inspect

import pytest

from clarion.server import Server

# Not imported from daphne: the reactor is the first importer's.
DaphneServer = Server.__mro__[1]
OPTIONS = list(inspect.signature(DaphneServer).parameters)


async def application(_scope: object, _receive: object, _send: object) -> None:
    """Answer nothing; it is never called."""


def test_server_takes_daphnes_arguments_by_position() -> None:
    """Each of daphne's arguments stands in daphne's place and arrives under daphne's name."""
    values = {name: f"value-{number}" for number, name in enumerate(OPTIONS)}
    numbers = {name: 1000 + number for number, name in enumerate(OPTIONS) if name.endswith(("timeout", "size"))}
    given = {**values, **numbers}
    server = Server(*given.values())
    # The proxy's headers are read by this server, not by daphne's code.
    told = {name: getattr(server, name) for name in OPTIONS if name != "proxy_forwarded_address_header"}
    assert told == {name: given[name] for name in told}


def test_server_takes_no_unknown_option() -> None:
    """A misspelt option is a TypeError, as with daphne."""
    with pytest.raises(TypeError, match="web_socket_timeout"):
        Server(application, endpoints=["tcp:0"], web_socket_timeout=5)
