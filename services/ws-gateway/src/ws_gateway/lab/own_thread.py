"""A thread for one connection's sync code, and its database connection.

Without it all sync consumers, ORM calls and sign-ins of a process take turns in one thread (asgiref's rule), and a
lesson that blocks would hold them all up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from asgiref.sync import ThreadSensitiveContext
from django.db import connections


@asynccontextmanager
async def own_thread() -> AsyncIterator[None]:
    """Run the block's sync code, and that of tasks begun in it, in a thread that nobody else has."""
    executor = ThreadPoolExecutor(1, "lab", initializer=_connect_briefly)
    try:
        async with ThreadSensitiveContext(executor=executor):
            yield
    finally:
        # The thread itself closes its connection, after whatever still runs in it. Not waited for: that may be a
        # counter that blocks until its next send finds the client gone, and this is the event loop.
        executor.submit(connections.close_all)
        executor.shutdown(wait=False)


def _connect_briefly() -> None:
    """Give this thread's database connection back after each use: threads here live as long as sockets do."""
    for connection in connections.all():
        connection.settings_dict = {**connection.settings_dict, "CONN_MAX_AGE": 0}
