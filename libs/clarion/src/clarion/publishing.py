"""Publishing from a Django service: at once, or with the transaction that is open.

Source: docs/protocol.md, "Publishing"; ADR-0005.
"""

from __future__ import annotations

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from clarion.publications import Published
from clarion.publisher import get_publisher
from clarion.values import JSON

__all__ = ["Published", "publish"]


def publish(
    channel: str, data: JSON, *, idempotency_key: str | None = None, tags: dict[str, str] | None = None
) -> Published:
    """Send one publication to every subscriber of a channel.

    Inside ``transaction.atomic()`` the publication is written to the outbox and sent after the commit, in commit order
    per channel; rolled back, it is never sent. Outside, it is sent at once; that needs ``CHANNEL_LAYERS`` and nothing
    else. A channel with history keeps it, and the answer says where; inside a transaction that is not known yet.

    Args:
        channel: 1 to 200 characters of ``clarion.names.CHANNEL``.
        data: any JSON value, at most ``limits.publication_bytes`` once encoded (default 64 KiB).
        idempotency_key: 1 to 200 printable characters. Outside a transaction a repeat on the channel within five
            minutes returns the first result and sends nothing. Inside, the row goes to Redis under this key when its
            turn comes; without one, under its own id, so that it is sent once even if a notifier dies over it.
        tags: texts by name, for subscribers' filters; at most 4 KiB as JSON.

    Raises:
        NameInvalid: HTTP 400, protocol error 107.
        DataInvalid: HTTP 400, protocol error 107; data, key or tags.
        PublicationTooLarge: HTTP 413.
        ChannelLayerUnavailable: outside a transaction, Redis did not answer in time: HTTP 503, safe to repeat with the
            same key.
        ImproperlyConfigured: inside a transaction, without the outbox's apps.

    Source: docs/protocol.md, "Publishing"; ADR-0005, ADR-0006.
    """
    if not transaction.get_connection().in_atomic_block:
        return get_publisher().publish(channel, data, idempotency_key=idempotency_key, tags=tags)
    if not apps.is_installed("clarion.outbox"):
        raise ImproperlyConfigured(
            "clarion.publish() inside a transaction writes to the outbox: add clarion.outbox and clarion.inbox to "
            "INSTALLED_APPS, run migrate, and run a notifier on this database"
        )
    from clarion.outbox.services import outbox_add  # here, because its models need the app

    [message] = outbox_add([(channel, data)], idempotency_key=idempotency_key, tags=tags)
    return Published(channel=channel, id=str(message.id))
