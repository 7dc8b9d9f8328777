"""Where PostgreSQL and Redis are, and what is known to be wrong with an address before anything is asked of it.

A wrong form is seen at once. A wrong password, user or database is what the server says: :mod:`clarion.refusals`.

Source: libpq, "Connection Strings"; redis-py, ``redis.connection.parse_url``; docs/reference/environment.md.
"""

from __future__ import annotations

from typing import Any, Final

import dj_database_url
import psycopg
from psycopg.conninfo import make_conninfo
from redis.connection import Connection, parse_url

DATABASE_ENGINES: Final = ("django.db.backends.postgresql", "django.db.backends.sqlite3")

DJANGO_OPTIONS: Final = {"assume_role", "isolation_level", "pool", "server_side_binding", "service", "passfile"}
"""Options of a database URL that Django keeps for itself: libpq does not know them."""


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
        make_conninfo("", **{name: value for name, value in options.items() if name not in DJANGO_OPTIONS})
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
