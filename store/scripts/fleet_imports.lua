-- Bring the fleet's totals up to what devices count of imported messages. KEYS: the fleet's record; what it counts of each.
-- ARGV: device, messages and bytes imported, of each device.
for i = 1, #ARGV, 3 do
  local device, messages, bytes = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local counted = redis.call('HGET', KEYS[2], device) or '0 0'
  local counted_messages, counted_bytes = string.match(counted, '^(%d+) (%d+)$')
  redis.call('HINCRBY', KEYS[1], 'messages', messages - tonumber(counted_messages))
  redis.call('HINCRBY', KEYS[1], 'bytes', bytes - tonumber(counted_bytes))
  redis.call('HSET', KEYS[2], device, messages .. ' ' .. bytes)
end
return redis.status_reply('OK')
