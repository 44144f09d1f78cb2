-- Give a node up: from now on it can store nothing; its routes go, its clients wait for another node.
-- KEYS  members, its member record, its list of lost clients, its routes, dead, routes, routes' version, accounts
-- ARGV  node, milliseconds it has to have been silent (0: it leaves by itself), change of the routes
-- Returns 1, or 0 if it is gone already or has beaten meanwhile.
local beat = redis.call('ZSCORE', KEYS[1], ARGV[1])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if not beat or now_ms - beat < tonumber(ARGV[2]) then
  return 0
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('SADD', KEYS[5], ARGV[1])
local version = redis.call('INCR', KEYS[7])
redis.call('XADD', KEYS[6], '0-' .. version, 'c', ARGV[3])
redis.call('HINCRBY', KEYS[8], 'routes', #ARGV[3])
return 1
