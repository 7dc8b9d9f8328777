"""What a PostgreSQL or a Redis that answers says to our URLs: a refusal is the configuration's fault, and ends a start.

One that does not answer in time, or that answers that it starts, loads, recovers or is full, is no refusal: it may be
well in a moment, and every service waits for it. Nor is what comes after the start: a password that is replaced
while a process runs does not end it.

Source: PostgreSQL manual, "Client Authentication"; Redis' ``acl.c``, ``networking.c``; docs/reference/environment.md.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, cast

import dj_database_url
import psycopg
from redis import ConnectionPool
from redis.connection import parse_url
from redis.exceptions import RedisError, ResponseError

from clarion.addresses import DATABASE_ENGINES, DJANGO_OPTIONS
from clarion.connections import sync_options
from clarion.errors import ClarionError
from clarion.names import redis_reply

DATABASE_VARIABLE: Final = "DATABASE_URL"
REDIS_VARIABLE: Final = "CLARION_REDIS_URL"

REFUSAL_TIMEOUT_S: Final = 3.0
"""How long a start waits to be refused: longer than a server takes to say so, and under the 5 s of a bad start."""

_CONNECT_TIMEOUT_S: Final = 2  # libpq's least

_DATABASE_REFUSALS: Final = re.compile(
    r"[^:]*(?:password authentication failed|(?:role|database) \S+ does not exist|no pg_hba\.conf entry"
    r"|no password supplied|not permitted to log in|invalid \w+ value: ).*"
)
"""What waiting does not mend. Others pass: it starts, stops, recovers, or has no connection free."""

_REDIS_REFUSALS: Final = re.compile(
    r"(?:(?:WRONGPASS|NOAUTH|NOPERM|DENIED) "
    r"|ERR (?:invalid password|AUTH <password> called without|(?:invalid )?DB index|SELECT is not allowed)).*?(?=\. |$)"
)
"""The same of Redis, its first sentence. Others pass: LOADING, MASTERDOWN, MISCONF, too many clients."""


def refusals(database_url: str, redis_urls: Sequence[str], prefix: str) -> list[str]:
    """Ask every server once, all at the same time, and return who refuses us.

    Args:
        redis_urls: one a shard.
        prefix: of every Redis name: a user may be allowed no other.

    Returns:
        One line a refusal, with the variable's name; no line holds a password. Nothing about a server that takes longer
        than ``REFUSAL_TIMEOUT_S``, which is how long this may take.
    """
    asks = [partial(_database_ask, database_url), *(partial(_redis_ask, url, prefix) for url in redis_urls)]
    said: list[str] = [""] * len(asks)
    # Daemons: a name server that hangs has no deadline of libpq's or redis-py's, and must not keep the process.
    threads = [threading.Thread(target=_note, args=(said, n, ask), daemon=True) for n, ask in enumerate(asks)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + REFUSAL_TIMEOUT_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [line for line in dict.fromkeys(said) if line]


def _note(said: list[str], number: int, ask: Callable[[], str]) -> None:
    said[number] = ask()


def _database_ask(url: str) -> str:
    """Connect to PostgreSQL; SQLite refuses nobody."""
    database = cast("dict[str, Any]", dj_database_url.parse(url))
    if database["ENGINE"] != DATABASE_ENGINES[0]:
        return ""
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    options = {libpq: database[django] for django, libpq in names.items() if database.get(django)}
    more = {name: value for name, value in database.get("OPTIONS", {}).items() if name not in DJANGO_OPTIONS}
    try:
        psycopg.connect("", **{"connect_timeout": _CONNECT_TIMEOUT_S, **more, **options}).close()
    except psycopg.Error as exc:
        refusal = database_refusal_of(exc)
        return f"{DATABASE_VARIABLE}: {refusal}" if refusal else ""
    return ""


def database_refusal_of(error: BaseException) -> str:
    """The part of an error on connecting that waiting will not mend; "" if it may. It names the user, no password."""
    found = _DATABASE_REFUSALS.search(str(error))
    return found[0].strip() if found else ""


def _redis_ask(url: str, prefix: str) -> str:
    """Sign in, and publish where nobody listens: what every service has to be allowed."""
    # No driver's name: redis-py hides what is answered to that, and DENIED is answered to whatever comes first.
    options = {**sync_options(_CONNECT_TIMEOUT_S), "driver_info": None}
    connection = ConnectionPool.from_url(url, **cast("dict[str, Any]", options)).make_connection()
    try:
        connection.connect()
        for command in (("PING",), ("PUBLISH", redis_reply(prefix, "start"), "")):
            connection.send_command(*command)
            connection.read_response()
    except (RedisError, OSError, UnicodeError) as exc:  # the last: of a host that is no name
        refusal = redis_refusal_of(exc)
        return f"{REDIS_VARIABLE}: {redis_server_of(url)}: {refusal}" if refusal else ""
    finally:
        connection.disconnect()
    return ""


def redis_refusal_of(error: BaseException) -> str:
    """Redis' own words when it refuses us, such as ``WRONGPASS invalid username-password pair``; "" for another error.

    Args:
        error: of redis-py, or one of ours that it caused.
    """
    error = _redis_error(error)
    found = _REDIS_REFUSALS.match(f"{getattr(error, 'status_code', None) or ''} {error}".strip())
    return found[0].rstrip(".") if found else ""


def is_disk_full(error: BaseException) -> bool:
    """Whether Redis cannot write its data: it refuses PING and every write, and goes on with pub/sub."""
    return str(error).startswith("MISCONF ")


def redis_reason(error: BaseException) -> str:
    """Why Redis does not serve, for a log: which variable is wrong if it refuses us, else the kind of error.

    Returns:
        ``CLARION_REDIS_URL: NOAUTH …``, Redis' own word (``LOADING``, ``MISCONF``, ``OOM``), or the exception's class.
    """
    if refusal := redis_refusal_of(error):
        return f"{REDIS_VARIABLE}: {refusal}"
    error = _redis_error(error)
    word = str(error).partition(" ")[0] if isinstance(error, ResponseError) else ""
    return getattr(error, "status_code", None) or (word if word.isupper() else type(error).__name__)


def _redis_error(error: BaseException) -> BaseException:
    while isinstance(error, ClarionError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def redis_server_of(url: str) -> str:
    """``host:port``, or the socket's path, of a Redis URL: all of it that may be shown."""
    options = parse_url(url)
    if path := options.get("path"):
        return str(path)
    host = str(options["host"])
    return f"[{host}]:{options.get('port', 6379)}" if ":" in host else f"{host}:{options.get('port', 6379)}"
