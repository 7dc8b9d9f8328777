"""What the outbox tells other apps, inside the transaction in which it happens."""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

messages_settled: Final = Signal()
"""Messages changed their state. Arguments: ``ids`` (list of UUID), ``state`` (``MessageState``), ``at`` (datetime).

Sent inside the transaction that changes the rows: what a receiver writes is committed or rolled back with them.
"""
