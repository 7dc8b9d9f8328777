"""Writes of the outbox: add, requeue, clean. (``clarion.publish`` is in :mod:`clarion.publishing`.)

Source: docs/explanation/outbox.md; ADR-0005.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from clarion.names import channel_check
from clarion.outbox.models import MessageState, OutboxMessage
from clarion.outbox.order import channels_lock, notifiers_wake, sequences_next
from clarion.outbox.signals import messages_settled
from clarion.publications import idempotency_key_check, tags_check
from clarion.values import JSON, PUBLICATION_MAX_BYTES, json_encode, publication_check

CLEAN_LIMIT: Final = 1000
"""Rows that one clean-up statement deletes at most: its locks and its WAL stay small."""

_INSERT_BATCH: Final = 500


def outbox_add(
    items: Sequence[tuple[str, JSON]], *, tags: dict[str, str] | None = None, idempotency_key: str | None = None
) -> list[OutboxMessage]:
    """Write publications to the outbox, all or none, to be sent in this order when the transaction has committed.

    One call locks its channels in sorted order. A transaction that makes several calls may meet another one that made
    them the other way round; PostgreSQL then ends one of the two with a deadlock error, to be tried again.

    Args:
        items: channel and data of each.
        tags: of each publication.
        idempotency_key: of each, with its channel: what is not the first under it within five minutes is not sent when
            its turn comes. None: the row's id, so that a row is sent once even if a notifier dies over it.

    Raises:
        NameInvalid, DataInvalid, PublicationTooLarge: as :func:`clarion.publish`; nothing is written.
    """
    limit = publication_bytes()
    # Checked before the locks: nobody waits for a caller's bad data.
    texts = [(channel_check(channel), publication_check(data, limit).decode()) for channel, data in items]
    if not texts:
        return []
    shared = {
        "tags": json_encode(tags).decode() if tags_check(tags) else "",
        "idempotency_key": "" if idempotency_key is None else idempotency_key_check(idempotency_key),
    }
    with transaction.atomic(savepoint=False):
        channels_lock(channel for channel, _ in texts)
        numbers = sequences_next(len(texts))
        messages = [
            OutboxMessage(sequence=number, channel=channel, data=text, **shared)
            for number, (channel, text) in zip(numbers, texts, strict=True)
        ]
        OutboxMessage.objects.bulk_create(messages, batch_size=_INSERT_BATCH)
        notifiers_wake()
    return messages


def publication_bytes() -> int:
    """Most bytes of one publication's data as JSON: what the channel layer's configuration says, else 64 KiB."""
    layers = getattr(settings, "CHANNEL_LAYERS", {})
    return int(layers.get("default", {}).get("CONFIG", {}).get("publication_bytes", PUBLICATION_MAX_BYTES))


def messages_requeue(ids: Iterable[UUID]) -> int:
    """Send dead messages after all; each joins the end of its channel's queue. Returns how many were dead."""
    with transaction.atomic(savepoint=False):
        dead = list(OutboxMessage.objects.filter(id__in=list(ids), state=MessageState.DEAD).order_by("sequence"))
        if not dead:
            return 0
        channels_lock(message.channel for message in dead)
        revived = []
        for message, number in zip(dead, sequences_next(len(dead)), strict=True):
            is_mine = OutboxMessage.objects.filter(id=message.id, state=MessageState.DEAD).update(
                sequence=number, state=MessageState.PENDING, attempts=0, due_at=None, last_error=""
            )
            if is_mine:  # else another operator was quicker
                revived.append(message.id)
        messages_settled.send(OutboxMessage, ids=revived, state=MessageState.PENDING, at=timezone.now())
        notifiers_wake()
    return len(revived)


def messages_clean(older_than: timedelta, limit: int = CLEAN_LIMIT) -> int:
    """Delete at most ``limit`` messages that were sent longer ago than that. Returns how many; call again if all were.

    Dead messages stay until an operator decides.
    """
    with transaction.atomic(savepoint=False):
        old = OutboxMessage.objects.filter(state=MessageState.SENT, sent_at__lt=timezone.now() - older_than)
        old = old.order_by("sent_at")
        if connection.features.has_select_for_update_skip_locked:
            old = old.select_for_update(skip_locked=True)  # two notifiers clean side by side
        ids = list(old.values_list("id", flat=True)[:limit])
        OutboxMessage.objects.filter(id__in=ids).delete()
    return len(ids)
