"""The Django app of sign-in."""

from __future__ import annotations

from typing import Any

import structlog
from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed

log = structlog.get_logger(__name__)


class AccountsConfig(AppConfig):
    """No tables of its own; it logs every sign-in, the admin's own page included."""

    name = "http_api.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Follow Django's signals."""
        user_logged_in.connect(_signed_in, dispatch_uid="accounts.signed_in")
        user_logged_out.connect(_signed_out, dispatch_uid="accounts.signed_out")
        user_login_failed.connect(_sign_in_failed, dispatch_uid="accounts.sign_in_failed")


def _signed_in(*, user: Any, **_signal: Any) -> None:
    log.info("user.signed_in", user=str(user.pk))


def _signed_out(*, user: Any, **_signal: Any) -> None:
    if user is not None:
        log.info("user.signed_out", user=str(user.pk))


def _sign_in_failed(**_signal: Any) -> None:
    # Not the name that was typed: people type their password there.
    log.warning("signin.failed")
