#!lua flags=allow-oom
-- Enter devices into the indices by last message and by name, also while the store is full.
-- KEYS: seen, names. ARGV: pairs of ms and device.
redis.call('ZADD', KEYS[1], 'GT', unpack(ARGV))
local names = {}
for i = 2, #ARGV, 2 do
  names[i - 1], names[i] = 0, ARGV[i]
end
redis.call('ZADD', KEYS[2], 'NX', unpack(names))
return 1
