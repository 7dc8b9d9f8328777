"""Where PostgreSQL and Redis are, and what is known to be wrong with an address before anything is asked of it.

A wrong form is seen at once. A wrong password, user or database is what a PostgreSQL that answers says. One that does
not answer is no error: it may not be there yet, and every service waits for it.

Source: libpq, "Connection Strings"; redis-py, ``redis.connection.parse_url``; docs/reference/environment.md.
"""

from __future__ import annotations

import re
import threading
from typing import Any, Final

import dj_database_url
import psycopg
from psycopg.conninfo import make_conninfo
from redis.connection import Connection, parse_url

DATABASE_ENGINES: Final = ("django.db.backends.postgresql", "django.db.backends.sqlite3")

REFUSAL_TIMEOUT_S: Final = 3.0
"""How long a start waits to be refused: longer than a PostgreSQL takes to say so, and under the 5 s of a bad start."""

_CONNECT_TIMEOUT_S: Final = 2  # libpq's least

_DJANGO_OPTIONS: Final = {"assume_role", "isolation_level", "pool", "server_side_binding", "service", "passfile"}

_REFUSALS: Final = re.compile(
    r"[^:]*(?:password authentication failed|(?:role|database) \S+ does not exist|no pg_hba\.conf entry"
    r"|no password supplied|not permitted to log in|invalid \w+ value: ).*"
)
"""What waiting does not mend. Others pass: it starts, stops, recovers, or has no connection free."""


def database_url_check(url: str) -> str:
    """Return a URL of a database that we can use.

    Raises:
        ValueError: it is none; the text does not quote it, because it holds a password.
    """
    try:
        database = dj_database_url.parse(url)
    except (ValueError, KeyError) as exc:  # its own errors quote the URL
        raise ValueError("not a database URL such as postgres://user:password@host/name") from exc
    if database["ENGINE"] not in DATABASE_ENGINES:
        raise ValueError("neither PostgreSQL (postgres://) nor SQLite (sqlite://)")
    if not database["NAME"]:
        raise ValueError("names no database, as postgres://user:password@host/name does")
    if database["ENGINE"] == DATABASE_ENGINES[0]:
        _options_check(database.get("OPTIONS", {}))
    return url


def _options_check(options: dict[str, Any]) -> None:
    try:
        make_conninfo("", **{name: value for name, value in options.items() if name not in _DJANGO_OPTIONS})
    except psycopg.ProgrammingError as exc:
        raise ValueError(str(exc).strip()) from exc


def redis_urls_check(urls: str) -> str:
    """Return URLs of Redis servers, separated by commas.

    Raises:
        ValueError: one is none; the text does not quote it, because it holds a password.
    """
    for url in urls.split(","):
        try:
            options = parse_url(url.strip())
            kind = options.pop("connection_class", Connection)
            kind(**options)  # opens nothing; refuses an option that it does not know
        except (ValueError, TypeError) as exc:
            raise ValueError("not Redis URLs such as redis://:password@host:6379") from exc
        if not (options.get("host") or options.get("path")):
            raise ValueError("names no host, as redis://:password@host:6379 does")
    return urls


def database_refusal(url: str) -> str:
    """Ask PostgreSQL once, and return why it refuses this URL; "" if it does not, or has not answered within 3 s."""
    database = dj_database_url.parse(url)
    if database["ENGINE"] != DATABASE_ENGINES[0]:
        return ""
    said: list[str] = []
    # A daemon: a name server that hangs has no deadline of libpq's, and must not keep the process.
    thread = threading.Thread(target=_ask, args=(database, said), name="database-refusal", daemon=True)
    thread.start()
    thread.join(REFUSAL_TIMEOUT_S)
    return said[0] if said else ""


def _ask(database: dict[str, Any], said: list[str]) -> None:
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    options = {libpq: database[django] for django, libpq in names.items() if database.get(django)}
    more = {name: value for name, value in database.get("OPTIONS", {}).items() if name not in _DJANGO_OPTIONS}
    try:
        psycopg.connect("", **{"connect_timeout": _CONNECT_TIMEOUT_S, **more, **options}).close()
    except psycopg.Error as exc:
        said.append(refusal_of(exc))


def refusal_of(error: Exception) -> str:
    """The part of an error on connecting that waiting will not mend; "" if it may. It names the user, no password."""
    found = _REFUSALS.search(str(error))
    return found[0].strip() if found else ""
