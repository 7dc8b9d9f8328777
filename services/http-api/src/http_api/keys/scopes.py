"""What an API key may be allowed to do."""

from __future__ import annotations

from django.db import models


class Scope(models.TextChoices):
    """One permission of an API key."""

    PUBLISH = "publish", "publish to channels"
    READ = "read", "read history and presence"
    CONTROL = "control", "mint tokens for users, subscribe and disconnect them, remove histories"
    NOTIFY = "notify", "send notifications"
    ADMIN = "admin", "everything"


def scopes_parse(text: str) -> frozenset[Scope]:
    """Parse scopes written one after the other, with spaces or commas between them.

    Raises:
        ValueError: one of them does not exist, or there is none.
    """
    scopes = frozenset(Scope(word) for word in text.replace(",", " ").split())
    if not scopes:
        raise ValueError("a key has at least one scope")
    return scopes


def scopes_format(scopes: frozenset[Scope]) -> str:
    """Write scopes as the database holds them: sorted, with spaces."""
    return " ".join(sorted(scopes))
