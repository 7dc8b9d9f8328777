"""The Lua scripts of presence. Each runs as one step and does a bounded amount of work: others wait meanwhile.

A gateway is named here by a random id of its process, so that one that was started again under the same name is
another one. What a script does to an entry and whom it tells are one step: nobody reads what nobody was told.

Source: ADR-0008; https://redis.io/docs/latest/develop/programmability/eval-intro/
"""

from __future__ import annotations

from typing import Final

from clarion.redis_scripts import Script

# Remove one entry of a node, "<client> <channel>", and tell the channel, from what the entry itself holds.
_DROP: Final = r"""
local function drop(node, member, presence, group)
  local client, channel = string.match(member, '^(%S+) (%S+)$')
  local value = client and redis.pcall('HGET', presence .. channel, client)
  if type(value) ~= 'string' or string.sub(value, 1, #node + 1) ~= node .. '\0' then return end
  redis.call('HDEL', presence .. channel, client)
  local flags = string.find(value, '\0', #node + 2, true) + 1
  if tonumber(string.sub(value, flags, flags)) >= 2 then
    redis.call('PUBLISH', group .. channel, string.sub(value, flags + 1))
  end
end
"""

WRITE: Final = Script(
    _DROP
    + """
local node, entries, nodes = KEYS[1], KEYS[2], KEYS[3]
local uid, number, presence, group = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local before = redis.call('HGET', node, 'w') or ''
if before == number then return redis.call('HGET', node, 'b') end
if before == '' then  -- perhaps forgotten: what is written now is to be found if the node is dead indeed
  local time = redis.call('TIME')
  redis.call('ZADD', nodes, 'NX', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), uid)
end
for i = 6, #ARGV, 5 do
  local kind, channel, client, value, message = unpack(ARGV, i, i + 4)
  local key, member, is_told = presence .. channel, client .. ' ' .. channel, message ~= ''
  if kind == 'drop' then
    drop(uid, member, presence, group)
    redis.call('SREM', entries, member)
  elseif kind == 'leave' then
    redis.pcall('HDEL', key, client)
    redis.call('SREM', entries, member)
  else
    local added = redis.pcall('HSET', key, client, value)
    if type(added) == 'table' and string.find(added.err, 'WRONGTYPE') then
      redis.call('DEL', key)
      added = redis.call('HSET', key, client, value)
    elseif type(added) == 'table' then
      return added
    end
    redis.call('SADD', entries, member)
    is_told = is_told and (kind == 'enter' or added == 1)
  end
  if is_told then redis.call('PUBLISH', group .. channel, message) end
end
redis.call('HSET', node, 'w', number, 'b', before)
redis.call('EXPIRE', node, ARGV[5])
return before
"""
)
"""Write down who came and went, in order, and tell the channels.

KEYS: the node's hash, its entries, nodes. ARGV: its uid, this write's number, prefixes of presence and of groups,
seconds that the hash lives; then of each change: kind (enter, again, leave, drop), channel, client, value, message to
publish. Answers the number of the write before: another one than the caller remembers says that Redis lost something.
A write that has been done is not done again; its answer is the same."""

BEAT: Final = Script("""#!lua flags=allow-oom
local nodes, node = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('ZSCORE', nodes, ARGV[1])
redis.call('ZADD', nodes, string.format('%.0f', now), ARGV[1])
if not last or now - last > tonumber(ARGV[4]) or redis.call('HEXISTS', node, 's') == 0 then
  redis.call('HSET', node, 's', string.format('%.0f', now))
end
redis.call('HSET', node, 'f', ARGV[2])
redis.call('EXPIRE', node, ARGV[3])
return redis.call('HGET', node, 'w') or ''
""")
"""Say that a node lives. KEYS: nodes, the node's hash. ARGV: its uid, its facts, seconds that the hash lives, the gap
in ms after which its beating counts as interrupted. Answers the number of its last write. Allowed over maxmemory: a
full Redis must not make every gateway look dead."""

REAP: Final = Script(
    _DROP
    + """
local nodes = KEYS[1]
local uid, dead_ms, late_ms, grace_ms, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local presence, group, node_of, entries_of = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local dead = redis.call('ZRANGEBYSCORE', nodes, '-inf', string.format('(%.0f', now - dead_ms), 'LIMIT', 0, 1)[1]
if not dead then return {} end
local own, steady = redis.call('ZSCORE', nodes, uid), redis.call('HGET', node_of .. uid, 's')
if not own or not steady or now - own > late_ms or now - steady < grace_ms then return {} end
redis.call('DEL', node_of .. dead)
local members = redis.call('SPOP', entries_of .. dead, most)
for _, member in ipairs(members) do drop(dead, member, presence, group) end
if #members < tonumber(most) then redis.call('ZREM', nodes, dead) end
return {dead, #members}
"""
)
"""Remove some entries of the node that has been silent longest, if it is dead; when none is left, forget the node.

Several survivors share the work, and one that dies amid it leaves nothing half done. A node that was only slow finds
its hash gone and writes everything again. Nobody judges others whose own beating was interrupted just now: when Redis
was away, all look dead.

KEYS: nodes. ARGV: the caller's uid; ms of silence that are death, of one's own that are late, of one's own steady
beating that allow to judge; most entries; prefixes of presence, groups, nodes' hashes, nodes' entries.
Answers the dead node and the number of entries, or nothing."""

FAREWELL: Final = Script("""
if redis.call('EXISTS', KEYS[3]) == 1 then return redis.call('ZADD', KEYS[1], 0, ARGV[1]) end
redis.call('DEL', KEYS[2])
return redis.call('ZREM', KEYS[1], ARGV[1])
""")
"""Forget a node that leaves; if it still has entries, it is dead at once. KEYS: nodes, the node's hash, its entries.
ARGV: its uid."""
