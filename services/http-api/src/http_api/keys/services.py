"""Making and revoking API keys."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

import structlog
from django.utils import timezone

from http_api.keys.models import ApiKey
from http_api.keys.scopes import Scope, scopes_format

log = structlog.get_logger(__name__)

KEY_PREFIX: Final = "clk_"
_KEY_BYTES: Final = 32
_HINT_CHARS: Final = 10


def key_hash(key: str) -> str:
    """SHA-256 of a key, as the database holds it."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def key_create(name: str, scopes: frozenset[Scope]) -> tuple[ApiKey, str]:
    """Make a key of 256 random bits. Returns its row, and the key itself: the only time that it is seen."""
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    row = ApiKey.objects.create(name=name, hint=key[:_HINT_CHARS], hash=key_hash(key), scopes=scopes_format(scopes))
    log.info("key.created", key_id=row.pk, name=name, scopes=row.scopes)
    return row, key


def key_revoke(key: ApiKey) -> bool:
    """Revoke a key: the next request with it is refused. Returns False if it was revoked before."""
    revoked = ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    if revoked:
        log.info("key.revoked", key_id=key.pk, name=key.name)
    return bool(revoked)
