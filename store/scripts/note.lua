#!lua flags=allow-oom
-- Set fields of a hash and add to others, also while the store is full: for the few that say how full it is.
-- KEYS: the hash. ARGV: how many fields to add to; pairs of field and number for these; pairs of field and value to set.
local adding = 2 * tonumber(ARGV[1]) + 1
for i = 2, adding, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
end
if #ARGV > adding then
  redis.call('HSET', KEYS[1], unpack(ARGV, adding + 1))
end
return 1
