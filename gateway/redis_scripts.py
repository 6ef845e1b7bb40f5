"""What the Redis store does in one step: scripts that Redis runs atomically.

Keys of a room, all below one hash tag, so that they live in one slot: a hash (incarnation, next, oldest, bytes, index),
a stream whose entry of event n has the id (n+1)-0, and the sorted set of all rooms by the time at which they end.
Both keys of a room expire by themselves, together.
"""

from __future__ import annotations

from typing import Final

# KEYS: room, log, rooms. ARGV: name, new incarnation, first index, idle ms, min idle ms, max rooms, prefix; more for each.
_OPEN: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local idle = tonumber(ARGV[4])
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[6]) then
    local longest = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
    if tonumber(longest[2]) > now + idle - tonumber(ARGV[5]) then
      return {'rooms_full', redis.call('ZCARD', KEYS[3])}
    end
    redis.call('UNLINK', ARGV[7] .. 'room:' .. longest[1], ARGV[7] .. 'log:' .. longest[1])
    redis.call('ZREM', KEYS[3], longest[1])
  end
  redis.call('UNLINK', KEYS[2])
  redis.call('HSET', KEYS[1], 'incarnation', ARGV[2], 'next', 0, 'oldest', 0, 'bytes', 0, 'index', ARGV[3])
end
redis.call('PEXPIREAT', KEYS[1], now + idle)
redis.call('PEXPIREAT', KEYS[2], now + idle)
redis.call('ZADD', KEYS[3], now + idle, ARGV[1])
"""

VIEW: Final = (
    "#!lua flags=allow-oom"
    + _OPEN
    + """
local room = redis.call('HMGET', KEYS[1], 'incarnation', 'oldest', 'next')
return {'view', room[1], tonumber(room[2]), tonumber(room[3])}
"""
)
"""{'view', incarnation, oldest, next} or {'rooms_full', rooms}."""

INDEX: Final = (
    "#!lua flags=allow-oom"
    + _OPEN
    + """
return {'index', redis.call('HINCRBY', KEYS[1], 'index', 1) - 1}
"""
)
"""{'index', n} or {'rooms_full', rooms}."""

# More ARGV: body, max messages, max bytes, channel, largest body that is told.
# Without the flag Redis refuses it when its memory is full.
APPEND: Final = (
    "#!lua"
    + _OPEN
    + """
local room = redis.call('HMGET', KEYS[1], 'incarnation', 'oldest', 'next', 'bytes')
local oldest, id, bytes = tonumber(room[2]), tonumber(room[3]), tonumber(room[4])
local size = #ARGV[8]
while oldest < id and (id - oldest >= tonumber(ARGV[9]) or bytes + size > tonumber(ARGV[10])) do
  local entry = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', KEYS[2], entry[1])
  bytes = bytes - #entry[2][2]
  oldest = oldest + 1
end
redis.call('XADD', KEYS[2], (id + 1) .. '-0', 'b', ARGV[8])
redis.call('PEXPIREAT', KEYS[2], now + idle)
redis.call('HSET', KEYS[1], 'oldest', oldest, 'next', id + 1, 'bytes', bytes + size)
local told = ''
if size <= tonumber(ARGV[12]) then
  told = ' ' .. ARGV[8]
end
redis.call('PUBLISH', ARGV[11], room[1] .. ' ' .. id .. told)
return {'id', id}
"""
)
"""{'id', id} or {'rooms_full', rooms}. Tells `incarnation id[ body]` in the room's channel."""

# KEYS: room, log. ARGV: incarnation, start, max bytes.
READ: Final = """#!lua flags=no-writes,allow-oom
local room = redis.call('HMGET', KEYS[1], 'incarnation', 'oldest', 'next')
if room[1] ~= ARGV[1] then
  return {'lost'}
end
local at, oldest, next = tonumber(ARGV[2]), tonumber(room[2]), tonumber(room[3])
if at < oldest then
  return {'overtaken', oldest}
end
local bodies, bytes = {'bodies'}, 0
while at < next do
  local body = redis.call('XRANGE', KEYS[2], (at + 1) .. '-0', (at + 1) .. '-0')[1][2][2]
  bytes = bytes + #body
  if #bodies > 1 and bytes > tonumber(ARGV[3]) then
    break
  end
  bodies[#bodies + 1] = body
  at = at + 1
end
return bodies
"""
"""{'bodies', body, ...}, {'overtaken', oldest} or {'lost'}."""

# KEYS: room, log, rooms. ARGV: incarnation, name.
GIVE_UP: Final = """#!lua flags=allow-oom
if redis.call('HGET', KEYS[1], 'incarnation') == ARGV[1] then
  redis.call('UNLINK', KEYS[1], KEYS[2])
  redis.call('ZREM', KEYS[3], ARGV[2])
end
return {'given up'}
"""
"""{'given up'}; nothing happens to a room of another incarnation."""
