-- Read retained messages by their topic names, as many as fit into a number of bytes, at least one.
-- KEYS  retained
-- ARGV  bytes, then topic names
-- Returns for each name that was read its value, or nil.
local found, bytes = {}, 0
for at = 2, #ARGV do
  bytes = bytes + redis.call('HSTRLEN', KEYS[1], ARGV[at])
  if #found > 0 and bytes > tonumber(ARGV[1]) then
    break
  end
  found[#found + 1] = redis.call('HGET', KEYS[1], ARGV[at])
end
return found
