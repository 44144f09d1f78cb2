-- Apply one group of messages to one device, whole or not at all.
-- KEYS: record, values, topics, history, then one key for each rollup of the write.
-- ARGV: the write (store/views.py, DeviceWrite, msgpack); history messages, bytes and oldest ms kept;
--       seconds to keep history; most fields and topics kept.
-- Returns nil when applied; else the device's position: the id of the last message applied.

local AFTER, FIRST, LAST, FIRST_MS, LAST_MS, MESSAGES, BYTES, CLIENT_ID = 1, 2, 3, 4, 5, 6, 7, 8
local FIELDS, TOPICS, CHUNKS = 9, 10, 11
local TRIM_STEP = 16
local record, values, topics, history = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local write = cmsgpack.unpack(ARGV[1])
local keep_messages, keep_bytes, keep_from_ms = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function merge(key, entry, keep_s, low, high, sum, count)
  local stored = redis.call('HGET', key, entry)
  if stored then
    local stored_low, stored_high, stored_sum, stored_count = struct.unpack('<dddI', stored)
    low, high = math.min(low, stored_low), math.max(high, stored_high)
    sum, count = sum + stored_sum, count + stored_count
  end
  redis.call('HSET', key, entry, struct.pack('<dddI', low, high, sum, count))
  if not stored then
    redis.call('EXPIRE', key, keep_s)
  end
end

-- Set hash fields; new ones only while the hash holds fewer than `most`. `then_do` runs for each field set.
local function set_bounded(key, fields, most, then_do)
  local room = most - redis.call('HLEN', key)
  if #fields > 0 and #fields <= room then -- as nearly always: one call instead of two for each field
    local pairs_of = {}
    for _, field in ipairs(fields) do
      pairs_of[#pairs_of + 1], pairs_of[#pairs_of + 2] = field[1], field[2]
      then_do(field)
    end
    redis.call('HSET', key, unpack(pairs_of))
    return
  end
  for _, field in ipairs(fields) do
    local is_known = redis.call('HEXISTS', key, field[1]) == 1
    if is_known or room > 0 then
      redis.call('HSET', key, field[1], field[2])
      room = is_known and room or room - 1
      then_do(field)
    end
  end
end

local function merge_rollups(field)
  for _, rollup in ipairs(field[3]) do
    for at = 5, #rollup, 3 do
      merge(KEYS[rollup[at]], rollup[at + 1], rollup[at + 2], rollup[1], rollup[2], rollup[3], rollup[4])
    end
  end
end

local function chunk_size(fields) -- f, frame, i, ids, n, count
  return tonumber(fields[6]), #fields[2] + #fields[4]
end

-- Remove whole chunks from the old end: those of an age, and those without which enough messages are left.
-- The newest chunk stays. Returns how many messages and bytes are left.
local function trim_history(count, bytes)
  local left, step = nil, 1 -- nearly always the first one stays
  repeat
    for _, entry in ipairs(redis.call('XRANGE', history, '-', '+', 'COUNT', step)) do
      local messages, size = chunk_size(entry[2])
      local is_old = tonumber(string.match(entry[1], '^%d+')) < keep_from_ms
      if not (is_old or bytes > keep_bytes or count - messages >= keep_messages) then
        return count, bytes
      end
      left = left or redis.call('XLEN', history)
      if left == 1 then
        return count, bytes
      end
      redis.call('XDEL', history, entry[1])
      count, bytes, left = count - messages, bytes - size, left - 1
    end
    step = TRIM_STEP
  until not left -- there was none
  return count, bytes
end

-- Returns how many messages and bytes there are then. `count` and `bytes` are of the history as it was, if it still is.
local function append_history(chunks, count, bytes)
  local is_there = redis.call('EXPIRE', history, ARGV[5]) == 1
  if not is_there then
    count, bytes = 0, 0
  end
  for _, chunk in ipairs(chunks) do
    local id, frame, ids, messages = unpack(chunk)
    -- An id that is too old means that the record was lost but not the history, which then has these messages.
    if not redis.pcall('XADD', history, id, 'f', frame, 'i', ids, 'n', messages)['err'] then
      count, bytes = count + messages, bytes + #frame + #ids
    end
  end
  if not is_there then
    redis.call('EXPIRE', history, ARGV[5])
  end
  return trim_history(count, bytes)
end

local stored = redis.call('HMGET', record, 'position', 'last_seen', 'first_seen', 'messages', 'bytes', 'history_count',
  'history_bytes')
local position = stored[1] or '0-0'
if not fits(position, write[AFTER], write[FIRST]) then
  return position
end

local history_count, history_bytes = append_history(write[CHUNKS], tonumber(stored[6] or 0), tonumber(stored[7] or 0))
redis.call('HSET', record, 'position', write[LAST], 'last_seen', math.max(write[LAST_MS], tonumber(stored[2] or 0)),
  'first_seen', stored[3] or write[FIRST_MS], 'messages', tonumber(stored[4] or 0) + write[MESSAGES],
  'bytes', tonumber(stored[5] or 0) + write[BYTES], 'client_id', write[CLIENT_ID],
  'history_count', history_count, 'history_bytes', history_bytes)
set_bounded(values, write[FIELDS], tonumber(ARGV[6]), merge_rollups)
set_bounded(topics, write[TOPICS], tonumber(ARGV[7]), function() end)
return nil
