"""Fossil deltas: what turns one publication's JSON into the next one's.

``<size>\\n`` then copies ``<size>@<offset>,`` and insertions ``<size>:<bytes>``, at last ``<checksum>;``; numbers in
base 64. Insertions begin and end between characters: in the JSON form a delta is text.

There is no maintained library for Python (the one on PyPI wraps C code of 2018), so this is ours: common ends first,
because most changes are local, then blocks of the middle by a hash table.

Source: https://fossil-scm.org/home/doc/tip/www/delta_format.wiki
"""

from __future__ import annotations

from typing import Final

BLOCK: Final = 16
"""Bytes of the old text that are found again in one piece; shorter pieces are inserted."""

MIDDLE_MAX_BYTES: Final = 16_384
"""A longer middle is inserted as it is: looking at every byte of it would hold the event loop for milliseconds."""

_DIGITS: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"


def delta_make(old: bytes, new: bytes) -> bytes:
    """The delta from one UTF-8 text to another; it may be longer than the new text."""
    start = _boundary_before(new, _common_start(old, new))
    end = _common_end(old, new, min(len(old), len(new)) - start)
    while end and _is_inside(new, len(new) - end):
        end -= 1
    delta = bytearray(_number(len(new)) + b"\n")
    if start:
        delta += _copy(0, start)
    _middle(delta, old, new, start, len(new) - end)
    if end:
        delta += _copy(len(old) - end, end)
    return bytes(delta + _number(checksum(new)) + b";")


def checksum(data: bytes) -> int:
    """The sum of the 32-bit words, the highest byte first, as 32 bits."""
    return sum(sum(data[at::4]) << 8 * (3 - at) for at in range(4)) & 0xFFFFFFFF


def _middle(delta: bytearray, old: bytes, new: bytes, at: int, end: int) -> None:
    """Append what lies between the common ends."""
    if end - at > MIDDLE_MAX_BYTES or end - at < BLOCK or len(old) < BLOCK:
        _insert(delta, new[at:end])
        return
    blocks = {old[offset : offset + BLOCK]: offset for offset in range(len(old) - BLOCK, -1, -BLOCK)}
    inserted = at
    while at + BLOCK <= end:
        offset = blocks.get(new[at : at + BLOCK])
        if offset is None:
            at += 1
            continue
        first, size = _grow(old, new, offset, at, inserted, end)
        if size >= BLOCK:
            _insert(delta, new[inserted:first])
            delta += _copy(offset - (at - first), size)
            at = inserted = first + size
        else:
            at += 1
    _insert(delta, new[inserted:end])


def _grow(old: bytes, new: bytes, offset: int, at: int, least: int, most: int) -> tuple[int, int]:
    """Where in the new text a match begins when it is made as long as can be, and how long it is then."""
    first, last = at, at + BLOCK
    while first > least and offset - (at - first) > 0 and new[first - 1] == old[offset - (at - first) - 1]:
        first -= 1
    while last < most and offset + (last - at) < len(old) and new[last] == old[offset + (last - at)]:
        last += 1
    while first < last and _is_inside(new, first):
        first += 1
    return first, _boundary_before(new, last) - first


def _insert(delta: bytearray, data: bytes) -> None:
    if data:
        delta += _number(len(data)) + b":" + data


def _copy(offset: int, size: int) -> bytes:
    return _number(size) + b"@" + _number(offset) + b","


def _number(number: int) -> bytes:
    if number == 0:
        return b"0"
    digits = bytearray()
    while number:
        digits.append(_DIGITS[number & 63])
        number >>= 6
    return bytes(reversed(digits))


def _common_start(old: bytes, new: bytes) -> int:
    """How many bytes both begin with: by halves, so that the comparing is done in C."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_end(old: bytes, new: bytes, most: int) -> int:
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if old[len(old) - middle : len(old) - low] == new[len(new) - middle : len(new) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def _is_inside(text: bytes, at: int) -> bool:
    """Whether a place lies inside a character."""
    return at < len(text) and text[at] & 0xC0 == 0x80


def _boundary_before(text: bytes, at: int) -> int:
    while at and _is_inside(text, at):
        at -= 1
    return at
