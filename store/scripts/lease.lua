#!lua flags=allow-oom
-- Take or renew the lease KEYS[1] for the node ARGV[1] for ARGV[2] ms. Returns 1 if the node holds it now.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
