"""The tags filter: which publications of a channel a subscriber gets.

A node is ``{key, cmp, val | vals}`` or ``{op: "and" | "or" | "not", nodes}``. Equal filters share one
:class:`Filter`, so that a publication is matched once for all of them.

Source: docs/protocol.md, "Tags filter".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from clarion.errors import RequestInvalid
from ws_gateway.protocol.commands import FilterNode

MAX_NODES: Final = 64
MAX_DEPTH: Final = 8
MAX_VALUES: Final = 100
MAX_BYTES: Final = 8_192

Tags: TypeAlias = dict[str, str]
Match: TypeAlias = Callable[[Tags], bool]


class Filter:
    """A checked filter; equal ones are one object (:func:`filter_of`)."""

    __slots__ = ("_match", "key")

    def __init__(self, node: FilterNode, key: bytes) -> None:
        self.key = key
        self._match = _compile(node)

    def matches(self, tags: Tags | None) -> bool:
        """Whether a publication with these tags passes."""
        return self._match(tags or {})


def filter_of(node: FilterNode) -> Filter:
    """Check a filter and return the one object for it.

    Raises:
        RequestInvalid: protocol error 107; the text says what is wrong.
    """
    _check(node, [MAX_NODES], MAX_DEPTH)
    key = msgspec.json.encode(node)
    if len(key) > MAX_BYTES:
        raise RequestInvalid(f"a tags filter has at most {MAX_BYTES} bytes")
    return _cached(key)


@lru_cache(maxsize=1024)
def _cached(key: bytes) -> Filter:
    return Filter(msgspec.json.decode(key, type=FilterNode), key)


def _check(node: FilterNode, left: list[int], depth: int) -> None:
    left[0] -= 1
    if left[0] < 0 or depth < 1:
        raise RequestInvalid(f"a tags filter has at most {MAX_NODES} nodes, {MAX_DEPTH} deep")
    if node.op == "":
        _check_comparison(node)
        return
    if node.op not in ("and", "or", "not"):
        raise RequestInvalid(f"a tags filter has no operator {node.op[:20]!r}")
    if node.key or node.cmp or not node.nodes or (node.op == "not" and len(node.nodes) != 1):
        raise RequestInvalid("an operator of a tags filter has nodes, 'not' exactly one, and no comparison")
    for child in node.nodes:
        _check(child, left, depth - 1)


def _check_comparison(node: FilterNode) -> None:
    if node.nodes or not node.key:
        raise RequestInvalid("a comparison of a tags filter has a key and no nodes")
    if node.cmp not in COMPARISONS:
        raise RequestInvalid(f"a tags filter has no comparison {node.cmp[:20]!r}")
    if node.cmp in ("in", "nin"):
        if not node.vals or len(node.vals) > MAX_VALUES or node.val:
            raise RequestInvalid(f"'{node.cmp}' of a tags filter takes vals, 1 to {MAX_VALUES} of them")
    elif node.vals or (node.cmp in ("ex", "nex") and node.val):
        raise RequestInvalid(f"'{node.cmp}' of a tags filter takes no such value")
    if node.cmp in _NUMERIC and _number(node.val) is None:
        raise RequestInvalid(f"'{node.cmp}' of a tags filter compares with a number")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number == number else None  # NaN compares with nothing


_NUMERIC: Final[dict[str, Callable[[float, float], bool]]] = {
    "lt": lambda tag, value: tag < value,
    "lte": lambda tag, value: tag <= value,
    "gt": lambda tag, value: tag > value,
    "gte": lambda tag, value: tag >= value,
}
_TEXT: Final[dict[str, Callable[[str, str], bool]]] = {
    "eq": lambda tag, value: tag == value,
    "sw": lambda tag, value: tag.startswith(value),
    "ew": lambda tag, value: tag.endswith(value),
    "ct": lambda tag, value: value in tag,
}
COMPARISONS: Final = frozenset(("neq", "in", "nin", "ex", "nex", *_NUMERIC, *_TEXT))


def _compile(node: FilterNode) -> Match:
    if node.op:
        return _compile_operator(node.op, [_compile(child) for child in node.nodes])
    key, value = node.key, node.val
    if node.cmp in _TEXT:
        compare = _TEXT[node.cmp]
        return lambda tags: key in tags and compare(tags[key], value)
    if node.cmp in _NUMERIC:
        return _compile_number(key, _NUMERIC[node.cmp], float(value))
    values = frozenset(node.vals)
    matches: dict[str, Match] = {
        "neq": lambda tags: key not in tags or tags[key] != value,
        "in": lambda tags: tags.get(key) in values,
        "nin": lambda tags: tags.get(key) not in values,
        "ex": lambda tags: key in tags,
        "nex": lambda tags: key not in tags,
    }
    return matches[node.cmp]


def _compile_operator(operator: str, matches: list[Match]) -> Match:
    if operator == "and":
        return lambda tags: all(match(tags) for match in matches)
    if operator == "or":
        return lambda tags: any(match(tags) for match in matches)
    return lambda tags: not matches[0](tags)


def _compile_number(key: str, compare: Callable[[float, float], bool], value: float) -> Match:
    def match(tags: Tags) -> bool:
        number = _number(tags[key]) if key in tags else None
        return number is not None and compare(number, value)

    return match
