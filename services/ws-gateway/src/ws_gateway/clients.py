"""The connections of the client protocol in this process: by user, by id, by emulation session.

Source: ADR-0007.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ws_gateway.endpoints.client import Client


class Clients:
    """Connections whose connect command has been answered."""

    def __init__(self) -> None:
        self._by_user: dict[str, dict[str, Client]] = {}
        self._by_session: dict[str, Client] = {}
        self._count = 0

    def add(self, client: Client) -> None:
        """Take in a connection."""
        self._count += 1
        self._by_user.setdefault(client.session.user, {})[client.session.client] = client

    def remove(self, client: Client) -> None:
        """Drop a connection."""
        session = client.session
        same_user = self._by_user.get(session.user, {})
        if same_user.pop(session.client, None) is not None:
            self._count -= 1
        if not same_user:
            self._by_user.pop(session.user, None)

    def count_of(self, user: str) -> int:
        """Connections of a user in this process."""
        return len(self._by_user.get(user, ()))

    @property
    def count(self) -> int:
        """All connections."""
        return self._count

    @property
    def users(self) -> int:
        """Users with a connection here; the anonymous ones together are one."""
        return len(self._by_user)

    def select(self, user: str, *, client: str = "", session: str = "") -> Iterator[Client]:
        """The connections of a user; of those, only the one with this id or emulation session if one is given."""
        for found in list(self._by_user.get(user, {}).values()):
            if client in ("", found.session.client) and session in ("", found.session.session):
                yield found

    # Emulation: known from the stream's start, before the connect has been answered

    def session_open(self, client: Client) -> None:
        """Let ``/emulation`` find a stream."""
        self._by_session[client.session.session] = client

    def session_close(self, client: Client) -> None:
        """The stream has ended."""
        self._by_session.pop(client.session.session, None)

    def by_session(self, session: str) -> Client | None:
        """The stream of an emulation session, if it is here."""
        return self._by_session.get(session)
