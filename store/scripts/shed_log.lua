#!lua flags=allow-oom
-- Give up the log that is kept for live views: move both marks up to what is projected, also while the store is full.
-- KEYS: the fleet's record. Returns how many bytes of log that gives up, about.
local fields = redis.call('HMGET', KEYS[1], 'position', 'log_bytes', 'trim_bytes')
local position, log_bytes, trim_bytes = fields[1], fields[2], fields[3] or 0
if not position or log_bytes == trim_bytes then
  return 0
end
redis.call('HSET', KEYS[1], 'trim', position, 'trim_bytes', log_bytes, 'mark', position, 'mark_bytes', log_bytes)
return log_bytes - trim_bytes
