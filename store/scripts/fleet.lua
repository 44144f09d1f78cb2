-- Add one batch to the totals, whole or not at all, after everything else of it is written.
-- KEYS: the fleet's record, its rates. ARGV: the write (store/views.py, FleetWrite, msgpack); bytes of log to keep;
--       oldest slot of the rates to keep (s).
-- Returns nil when applied; else the fleet's position: up to which the log is projected.

local AFTER, FIRST, LAST, MESSAGES, BYTES, ENTRIES, LOG_BYTES, SLOTS = 1, 2, 3, 4, 5, 6, 7, 8
local record, rate = KEYS[1], KEYS[2]
local write = cmsgpack.unpack(ARGV[1])
local keep_bytes, keep_from_s = tonumber(ARGV[2]), tonumber(ARGV[3])

local function forget_old_slots()
  for _, slot in ipairs(redis.call('HKEYS', rate)) do
    if tonumber(slot) < keep_from_s then
      redis.call('HDEL', rate, slot)
    end
  end
end

-- Two marks lie behind the position, at least half of `keep_bytes` apart. The log is trimmed before the older.
local function move_marks(log_bytes)
  local marks = redis.call('HMGET', record, 'mark', 'mark_bytes')
  if not marks[1] then
    redis.call('HSET', record, 'mark', write[LAST], 'mark_bytes', log_bytes)
  elseif log_bytes - tonumber(marks[2]) >= keep_bytes / 2 then
    redis.call('HSET', record, 'trim', marks[1], 'trim_bytes', marks[2], 'mark', write[LAST], 'mark_bytes', log_bytes)
  end
end

local position = redis.call('HGET', record, 'position') or '0-0'
if not fits(position, write[AFTER], write[FIRST]) then
  return position
end

redis.call('HSET', record, 'position', write[LAST])
redis.call('HINCRBY', record, 'messages', write[MESSAGES])
redis.call('HINCRBY', record, 'bytes', write[BYTES])
redis.call('HINCRBY', record, 'entries', write[ENTRIES])
move_marks(redis.call('HINCRBY', record, 'log_bytes', write[LOG_BYTES]))
for _, slot in ipairs(write[SLOTS]) do
  if redis.call('HINCRBY', rate, slot[1], slot[2]) == slot[2] then
    forget_old_slots()
  end
end
return nil
