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


def publish(channel: str, data: JSON) -> Published:
    """Send one publication to every subscriber of a channel.

    Inside ``transaction.atomic()`` the publication is written to the outbox and sent after the commit, at least once,
    in commit order per channel; rolled back, it is never sent. Outside, it is sent at once, at most once; that needs
    ``CHANNEL_LAYERS`` and nothing else.

    Args:
        channel: 1 to 200 characters of ``clarion.names.CHANNEL``.
        data: any JSON value, at most ``limits.publication_bytes`` once encoded (default 64 KiB).

    Raises:
        NameInvalid: HTTP 400, protocol error 107.
        DataInvalid: HTTP 400, protocol error 107.
        PublicationTooLarge: HTTP 413.
        ChannelLayerUnavailable: outside a transaction, Redis did not answer in time: HTTP 503.
        ImproperlyConfigured: inside a transaction, without the outbox's apps.

    Source: docs/protocol.md, "Publishing"; ADR-0005.
    """
    if not transaction.get_connection().in_atomic_block:
        return get_publisher().publish(channel, data)
    if not apps.is_installed("clarion.outbox"):
        raise ImproperlyConfigured(
            "clarion.publish() inside a transaction writes to the outbox: add clarion.outbox and clarion.inbox to "
            "INSTALLED_APPS, run migrate, and run a notifier on this database"
        )
    from clarion.outbox.services import outbox_add  # here, because its models need the app

    [message] = outbox_add([(channel, data)])
    return Published(channel=channel, id=str(message.id))
