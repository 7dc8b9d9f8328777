"""Looking up who holds an API key."""

from __future__ import annotations

from dataclasses import dataclass

from http_api.errors import KeyInvalid
from http_api.keys.models import ApiKey
from http_api.keys.scopes import Scope, scopes_parse
from http_api.keys.services import KEY_PREFIX, key_hash


@dataclass(frozen=True, slots=True)
class KeyCaller:
    """A service that has shown a valid API key."""

    key_id: int
    name: str
    scopes: frozenset[Scope]

    def may(self, *scopes: Scope) -> bool:
        """Whether the key has one of these scopes, or ``admin``, which includes all."""
        return Scope.ADMIN in self.scopes or not self.scopes.isdisjoint(scopes)


def key_caller(key: str) -> KeyCaller:
    """Who holds this key. One query of one indexed row, at each request: a revocation holds at once.

    How long the lookup takes tells nothing of value: it compares hashes, and nobody can choose the hash of a guess.

    Raises:
        KeyInvalid: HTTP 401; unknown or revoked, and not said which.
    """
    if not key.startswith(KEY_PREFIX):
        raise KeyInvalid
    try:
        key_id, name, scopes = ApiKey.objects.values_list("id", "name", "scopes").get(
            hash=key_hash(key), revoked_at=None
        )
    except ApiKey.DoesNotExist as exc:
        raise KeyInvalid from exc
    return KeyCaller(key_id, name, scopes_parse(scopes))
