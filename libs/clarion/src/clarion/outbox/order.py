"""Commit order: what makes a channel's ``sequence`` the order in which its transactions committed.

A sequence number alone does not: who took the lower one may commit later, and be overtaken. So a transaction locks its
channels before it takes numbers and holds them until it ends. On SQLite a transaction that writes is alone anyway.

Source: docs/explanation/outbox.md, "Order"; PostgreSQL manual, 13.3.5 "Advisory Locks".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from django.db import connection

SEQUENCE: Final = "clarion_outbox_sequence"
"""The PostgreSQL sequence of ``OutboxMessage.sequence``; made by the first migration."""

NOTIFY_CHANNEL: Final = "clarion_outbox"
"""What a commit with new messages notifies on PostgreSQL; notifiers listen."""

SINGLE_LOCKS_MAX: Final = 64
"""Most channels of one call that are locked one by one; more are locked by the bucket."""

_BUCKETS: Final = 64
_BUCKET_CLASS: Final = 0x436C_6172  # "Clar": the first half of the buckets' two-part keys

# unnest() gives its rows in the array's order, and so are the locks taken.
_LOCK_BUCKETS_SHARED: Final = "SELECT pg_advisory_xact_lock_shared(%s, key)::text FROM unnest(%s::int[]) AS key"
_LOCK_BUCKETS: Final = "SELECT pg_advisory_xact_lock(%s, key)::text FROM unnest(%s::int[]) AS key"
_LOCK_CHANNELS: Final = "SELECT pg_advisory_xact_lock(key)::text FROM unnest(%s::bigint[]) AS key"


def channel_lock_key(channel: str) -> int:
    """The channel's advisory lock: a signed 64-bit number, the same in every process and release."""
    return int.from_bytes(hashlib.blake2b(channel.encode(), digest_size=8).digest(), "big", signed=True)


def channels_lock(channels: Iterable[str]) -> None:
    """Hold the channels until the transaction ends, so that the next writer's rows get higher numbers.

    Locks are taken in sorted order: two calls never wait for each other. PostgreSQL keeps all locks of a server in one
    table of some 6,400 places, which one notification to thousands of users would fill and so break other transactions;
    hence two levels. Few channels: their buckets shared, each channel exclusively. Many: only the buckets, exclusively.
    """
    if connection.vendor != "postgresql":
        return
    keys = sorted({channel_lock_key(channel) for channel in channels})
    buckets = sorted({key % _BUCKETS for key in keys})
    with connection.cursor() as cursor:
        if len(keys) > SINGLE_LOCKS_MAX:
            cursor.execute(_LOCK_BUCKETS, [_BUCKET_CLASS, buckets])
        else:
            cursor.execute(_LOCK_BUCKETS_SHARED, [_BUCKET_CLASS, buckets])
            cursor.execute(_LOCK_CHANNELS, [keys])


def sequences_next(count: int) -> list[int]:
    """The next ``count`` numbers, ascending. Call it after :func:`channels_lock`, in the same transaction."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"SELECT nextval('{SEQUENCE}') FROM generate_series(1, %s)", [count])  # noqa: S608
            return sorted(number for (number,) in cursor.fetchall())
        cursor.execute("SELECT coalesce(max(sequence), 0) FROM clarion_outbox_message")
        (last,) = cursor.fetchone()
    return list(range(last + 1, last + 1 + count))


def notifiers_wake() -> None:
    """Wake the notifiers when this transaction commits. Elsewhere than on PostgreSQL they poll."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [NOTIFY_CHANNEL])
