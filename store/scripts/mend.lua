-- Set parts of a device right, unless it has changed since it was looked at. KEYS: its record, then others of the device.
-- ARGV: its `position` and `messages` as they were read; then for each command its name, the number of its key, the number
-- of its arguments, and these. Returns 1 if done, else 0.
local stored = redis.call('HMGET', KEYS[1], 'position', 'messages')
if (stored[1] or '') ~= ARGV[1] or (stored[2] or '') ~= ARGV[2] then
  return 0
end
local at = 3
while at <= #ARGV do
  local count = tonumber(ARGV[at + 2])
  redis.call(ARGV[at], KEYS[tonumber(ARGV[at + 1])], unpack(ARGV, at + 3, at + 2 + count))
  at = at + 3 + count
end
return 1
