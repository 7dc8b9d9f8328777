"""The table of API keys. A key itself is nowhere in it."""

from __future__ import annotations

from django.db import models

from http_api.keys.scopes import Scope, scopes_parse


class ApiKey(models.Model):
    """One key that a service holds."""

    name = models.CharField(max_length=100)
    hint = models.CharField(max_length=16, editable=False)
    """The key's first characters, to tell keys apart by."""
    hash = models.CharField(max_length=64, unique=True, editable=False)
    """SHA-256 of the key, in hexadecimal. A key has 256 random bits: there is nothing to guess, hence no slow hash."""
    scopes = models.CharField(max_length=100)
    """Names of :class:`Scope`, with spaces between them."""
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"

    @property
    def scope_set(self) -> frozenset[Scope]:
        """The scopes, parsed."""
        return scopes_parse(self.scopes)
