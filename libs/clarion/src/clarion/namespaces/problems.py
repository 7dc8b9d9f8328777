"""What is wrong with a ``clarion.toml``: every option by its way from the top, with what would be right."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Location = tuple[int | str, ...]


def option_problems(exc: ValidationError, raw: Mapping[str, Any], top: type[BaseModel]) -> Iterator[str]:
    """One line for each wrong option. A value is never quoted: it may be a secret."""
    for error in exc.errors(include_url=False, include_input=False):
        location = error["loc"]
        if error["type"] != "extra_forbidden":
            yield f"{option_path(location, raw)}: {error['msg'].removeprefix('Value error, ')}"
            continue
        near = _nearest(location, top)
        yield f"{option_path(location, raw)}: no such option; the nearest one is {near}"


def option_path(location: Sequence[int | str], raw: Any) -> str:
    """The way to an option, with dots; a namespace is called by its name, not by its place in the list."""
    parts = []
    for part in location:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):  # the option is missing, or stands where a table should
            raw = None
        name = raw.get("name") if isinstance(part, int) and isinstance(raw, dict) else None
        parts.append(_printable(name if isinstance(name, str) and name else part))
    return ".".join(parts)


def _printable(part: object) -> str:
    """A name that a terminal or a log can show on one line: a quoted TOML key may hold anything."""
    text = str(part)
    return text if text.isascii() and text.isprintable() and len(text) <= 80 else ascii(text[:80])


def _nearest(location: Location, top: type[BaseModel]) -> str:
    """The option that was most likely meant: of the same table, else of any other, else the least unlike."""
    name = str(location[-1])[:80]
    here = list(_table_at(location[:-1], top).model_fields)
    if near := difflib.get_close_matches(name, here, n=1):
        return near[0]
    elsewhere = dict(reversed(list(_all_options(top))))  # of several, the first
    if near := difflib.get_close_matches(name, elsewhere, n=1):
        return elsewhere[near[0]]
    return difflib.get_close_matches(name, here, n=1, cutoff=0.0)[0]


def _table_at(location: Location, top: type[BaseModel]) -> type[BaseModel]:
    table = top
    for part in location:
        if isinstance(part, str) and (below := _table_type(table.model_fields[part].annotation)):
            table = below
    return table


def _table_type(annotation: Any) -> type[BaseModel] | None:
    """The table that an option holds, or a list of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, Union, types.UnionType):
        return next((table for inner in get_args(annotation) if (table := _table_type(inner))), None)
    return None


def _all_options(table: type[BaseModel], path: str = "") -> Iterator[tuple[str, str]]:
    """Every option's name and its way from the top."""
    for name, field in table.model_fields.items():
        yield name, path + name
        if below := _table_type(field.annotation):
            yield from _all_options(below, f"{path}{name}.")
