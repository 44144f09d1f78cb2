-- Put between position.lua and device.lua: for imported messages that are newer than all the device has.
-- ARGV, at the end: the ids `after`, `first` and `last` of the write; its messages and bytes; the id from which on the
-- log may hold messages of the device that no view shows yet.
do
  local after, first, last, messages, bytes, ceiling = unpack(ARGV, #ARGV - 5)
  if fits(redis.call('HGET', KEYS[1], 'position') or '0-0', after, first) then
    redis.call('HINCRBY', KEYS[1], 'imported_messages', messages)
    redis.call('HINCRBY', KEYS[1], 'imported_bytes', bytes)
    redis.call('HSET', KEYS[1], 'gap', last .. ' ' .. ceiling)
  end
end
