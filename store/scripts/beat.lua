-- A node's heartbeat, by the store's own clock.
-- KEYS  members, this node's member record, dead
-- ARGV  node, milliseconds after which a node that does not beat is given up
-- Returns {1, or 0 if this node was given up; nodes that have not beaten for so long; nodes whose clients wait for another;
-- how many nodes there are}.
if redis.call('EXISTS', KEYS[2]) == 0 then
  return {0, {}, {}, 0}
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now_ms, ARGV[1])
local silent = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms - ARGV[2])
return {1, silent, redis.call('SMEMBERS', KEYS[3]), redis.call('ZCARD', KEYS[1])}
