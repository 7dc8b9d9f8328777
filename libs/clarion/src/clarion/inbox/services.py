"""Writes of the inbox.

Source: docs/explanation/outbox.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from clarion.errors import DataInvalid
from clarion.inbox.models import BODY_MAX_CHARS, TITLE_MAX_CHARS, Delivery, Notification
from clarion.names import personal_channel
from clarion.outbox.models import MessageState
from clarion.outbox.services import outbox_add, publication_bytes
from clarion.values import JSON, json_encode, publication_check

USERS_MAX: Final = 1000
"""Most recipients of one notification: its rows are one transaction."""

_INSERT_BATCH: Final = 500


def notification_create(users: Sequence[str], title: str, body: str, data: JSON = None) -> Notification:
    """Notify users: a delivery each, sent to the user's personal channel once the transaction has committed.

    Delivered at least once to whoever is connected, and kept.

    Args:
        users: 1 to ``USERS_MAX`` user ids; one that is named twice is notified once.
        title: 1 to ``TITLE_MAX_CHARS`` characters.
        body: at most ``BODY_MAX_CHARS`` characters.
        data: any JSON value; what a client receives has at most ``limits.publication_bytes`` once encoded.

    Raises:
        NameInvalid: HTTP 400; a user id breaks a rule. Nothing is written, as with every error here.
        DataInvalid: HTTP 400; title, body, data or the number of users.
        PublicationTooLarge: HTTP 413.
    """
    channels = _channels(users)
    _text_check("title", title, 1, TITLE_MAX_CHARS)
    _text_check("body", body, 0, BODY_MAX_CHARS)
    notification = Notification(title=title, body=body)
    event = notification_event(notification, data)
    publication_check(event, publication_bytes())  # before json_encode, which takes what cannot travel
    notification.data = "" if data is None else json_encode(data).decode()
    with transaction.atomic(savepoint=False):
        notification.save(force_insert=True)
        messages = outbox_add([(channel, event) for channel in channels.values()])
        Delivery.objects.bulk_create(
            [
                Delivery(notification=notification, user_id=user, outbox=message, created_at=notification.created_at)
                for user, message in zip(channels, messages, strict=True)
            ],
            batch_size=_INSERT_BATCH,
        )
    return notification


def notification_event(notification: Notification, data: JSON) -> dict[str, JSON]:
    """What a recipient receives of a new notification. Source: docs/protocol.md, "Notifications"."""
    return {
        "event": "notification.created",
        "notification": {
            "id": str(notification.id),
            "title": notification.title,
            "body": notification.body,
            "data": data,
            "created_at": notification.created_at.isoformat().replace("+00:00", "Z"),
        },
    }


def deliveries_settle(ids: Sequence[UUID], state: MessageState, at: datetime, **_signal: Any) -> None:
    """Give deliveries the state of their outbox messages, in the same transaction (``messages_settled``)."""
    sent_at = at if state == MessageState.SENT else None
    Delivery.objects.filter(outbox__in=ids).update(state=state, sent_at=sent_at)


def _channels(users: Sequence[str]) -> dict[str, str]:
    """Each user's personal channel, in the order in which they were named."""
    if isinstance(users, str) or not isinstance(users, Sequence) or not 1 <= len(users) <= USERS_MAX:
        raise DataInvalid(f"a notification has a list of 1 to {USERS_MAX:,} users")
    return {user: personal_channel(user) for user in users}


def _text_check(field: str, text: object, min_chars: int, max_chars: int) -> None:
    if not isinstance(text, str) or not min_chars <= len(text) <= max_chars:
        raise DataInvalid(f"the {field} is text of {min_chars:,} to {max_chars:,} characters")
    if "\0" in text:
        raise DataInvalid(f"the {field} holds a NUL character, which PostgreSQL cannot store")
