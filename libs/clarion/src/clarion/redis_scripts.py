"""The Lua scripts of recoverable channels. Each runs as one step: nothing comes between, all or nothing is done.

A message is never parsed here. Its publisher leaves it open at the end, and offset and epoch are appended as bytes:
cjson and cmsgpack mix up ``{}`` and ``[]``, and lose integers beyond 53 bits.

Redis may lose one of a channel's two keys: by eviction, by hand, in a failover. Whatever is left then is not the
stream that subscribers know, so it is deleted and a new epoch begins; they are told to reload.

Source: ADR-0006; https://redis.io/docs/latest/develop/programmability/eval-intro/
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest that Redis knows it by."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


# KEYS: meta, stream, what became of the idempotency key (if there is one).
# ARGV: group, open message, candidate epoch, MAXLEN, ms that the stream lives, ms that the meta lives,
#       with a key: the publication's id, seconds that the key lives.
# Answers "<offset>:<epoch>:<receivers>", with a key also ":<id>"; a repeated key's first answer.
_PUBLISH: Final = """
local meta, stream, repeated = KEYS[1], KEYS[2], KEYS[3]
if repeated then
  local first = redis.call('GET', repeated)
  if first then return first end
end
local offset = redis.call('HINCRBY', meta, 'o', 1)
local epoch = redis.call('HGET', meta, 'e')
local top = string.format('%.0f', offset)
local message, refusal
if epoch then
  message = {splice}
  local added = redis.pcall('XADD', stream, 'MAXLEN', '=', ARGV[4], top .. '-0', 'm', message)
  refusal = added.err
end
if refusal or not epoch then
  offset, top, epoch = 1, '1', ARGV[3]
  message = {splice}
  redis.call('DEL', stream)
  redis.call('HSET', meta, 'o', 1, 'e', epoch)
  redis.call('XADD', stream, 'MAXLEN', '=', ARGV[4], '1-0', 'm', message)
end
redis.call('PEXPIRE', stream, ARGV[5])
redis.call('PEXPIRE', meta, ARGV[6])
local answer = top .. ':' .. epoch .. ':' .. redis.call('PUBLISH', ARGV[1], message)
if repeated then
  answer = answer .. ':' .. ARGV[7]
  redis.call('SET', repeated, answer, 'EX', ARGV[8])
end
return answer
"""

# The map's header counts both pairs already: offset as uint 64, epoch as a text of at most 31 bytes.
_SPLICE_MSGPACK: Final = (
    r"ARGV[2] .. '\166offset\207' .. struct.pack('>I8', offset) .. '\165epoch' .. string.char(160 + #epoch) .. epoch"
)
# The text lacks its closing brace.
_SPLICE_JSON: Final = """ARGV[2] .. ', "offset": ' .. top .. ', "epoch": "' .. epoch .. '"}'"""

PUBLISH: Final = {
    "msgpack": Script(_PUBLISH.format(splice=_SPLICE_MSGPACK)),
    "json": Script(_PUBLISH.format(splice=_SPLICE_JSON)),
}
"""Publish with history, by the serializer's format."""


def _open_msgpack(payload: bytes) -> bytes:
    """A map whose header counts two pairs that are not there yet."""
    kind = payload[0]
    if kind < 0x8E:  # a fixmap that stays one
        return bytes((kind + 2,)) + payload[1:]
    if kind < 0x90:
        return b"\xde" + (kind - 0x80 + 2).to_bytes(2, "big") + payload[1:]
    pairs = int.from_bytes(payload[1:3], "big") + 2
    return b"\xde" + pairs.to_bytes(2, "big") + payload[3:]


def _open_json(payload: bytes) -> bytes:
    """An object without its closing brace."""
    return payload[:-1]


OPEN: Final[dict[str, Callable[[bytes], bytes]]] = {"msgpack": _open_msgpack, "json": _open_json}
"""Leave a serialised message open for the script of its format."""


PUBLISH_ONCE: Final = Script("""
local first = redis.call('GET', KEYS[1])
if first then return first end
local answer = '0::' .. redis.call('PUBLISH', ARGV[1], ARGV[2]) .. ':' .. ARGV[3]
redis.call('SET', KEYS[1], answer, 'EX', ARGV[4])
return answer
""")
"""Publish without history under an idempotency key. KEYS: that key's. ARGV: group, message, id, seconds it lives."""

READ: Final = Script("""
local meta, stream = KEYS[1], KEYS[2]
local top = redis.call('HMGET', meta, 'o', 'e')
local offset, epoch = top[1], top[2]
if not (offset and epoch) or #redis.call('XRANGE', stream, '(' .. offset, '+', 'COUNT', 1) > 0 then
  offset, epoch = '0', ARGV[1]
  redis.call('DEL', stream)
  redis.call('HSET', meta, 'o', 0, 'e', epoch)
end
if redis.call('PTTL', meta) < ARGV[2] / 2 then redis.call('PEXPIRE', meta, ARGV[2]) end
local entries = {}
if ARGV[3] then entries = redis.call(ARGV[3], stream, unpack(ARGV, 4)) end
return {offset, epoch, entries}
""")
"""Read a position and entries. KEYS: meta, stream. ARGV: candidate epoch, ms that the meta lives, then a range command
without its key; without one the position only. A channel that is looked at keeps its epoch."""
