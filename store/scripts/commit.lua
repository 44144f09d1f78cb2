-- One commit: the batch as one entry of the ingest log, and the retained messages it changes; all or nothing.
-- KEYS  log, committed (this node's marker), retained, retained index
-- ARGV  commit number, marker's time to live in s, frame, most retained messages, then pairs (topic name, frame or "")
-- Returns {1 if stored now or 0 if an earlier try had stored it, retained messages refused for lack of room}.
-- A commit is tried again when its outcome is unknown; its number, which only grows, makes the repeat harmless.
local number = tonumber(ARGV[1])
if number <= tonumber(redis.call('GET', KEYS[2]) or '0') then
  redis.call('EXPIRE', KEYS[2], ARGV[2])  -- a write, so that WAITAOF on this connection waits for the first try as well
  return {0, 0}
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
redis.call('XADD', KEYS[1], '*', 'f', ARGV[3])
local refused, most = 0, tonumber(ARGV[4])
for i = 5, #ARGV, 2 do
  local topic_name, frame = ARGV[i], ARGV[i + 1]
  if frame == '' then
    redis.call('HDEL', KEYS[3], topic_name)
    redis.call('ZREM', KEYS[4], topic_name)
  elseif redis.call('HLEN', KEYS[3]) < most or redis.call('HEXISTS', KEYS[3], topic_name) == 1 then
    redis.call('HSET', KEYS[3], topic_name, frame)
    redis.call('ZADD', KEYS[4], 0, topic_name)
  else
    refused = refused + 1
  end
end
return {1, refused}
