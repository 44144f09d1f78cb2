-- Apply one group of messages to one device, whole or not at all.
-- KEYS: record, values, topics, history, then one key for each rollup of the write.
-- ARGV: the write (store/views.py, DeviceWrite, msgpack); history messages, bytes and oldest ms kept;
--       seconds to keep history; most fields and topics kept; most bytes of both together; 1 if the device may grow.
-- Returns nil when applied; else the device's position: the id of the last message applied.
-- A device that may not grow counts the messages and renews what it has. They are not in its history, and what the history
-- held goes, so that it never has a gap: the long history is asked for what came before its beginning.

local AFTER, FIRST, LAST, FIRST_MS, LAST_MS, MESSAGES, BYTES, CLIENT_ID = 1, 2, 3, 4, 5, 6, 7, 8
local FIELDS, TOPICS, CHUNKS = 9, 10, 11
local TRIM_STEP, FIELD_STEP = 16, 256
local ENTRY_BYTES = 64 -- what a field takes besides name and value, about
local SMALL_BYTES = 32 -- of a value: in place of a smaller one it is no growth
local record, values, topics, history = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local write = cmsgpack.unpack(ARGV[1])
local keep_messages, keep_bytes, keep_from_ms = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local most_state_bytes, may_grow = tonumber(ARGV[8]), ARGV[9] == '1'
local state_bytes -- of last values and topics

local function merge(key, entry, keep_s, low, high, sum, count)
  local stored = redis.call('HGET', key, entry)
  if stored then
    local stored_low, stored_high, stored_sum, stored_count = struct.unpack('<dddI', stored)
    low, high = math.min(low, stored_low), math.max(high, stored_high)
    sum, count = sum + stored_sum, count + stored_count
  elseif not may_grow then
    return
  end
  redis.call('HSET', key, entry, struct.pack('<dddI', low, high, sum, count))
  if not stored then
    redis.call('EXPIRE', key, keep_s)
  end
end

local function merge_rollups(field)
  for _, rollup in ipairs(field[3] or {}) do
    for at = 5, #rollup, 3 do
      merge(KEYS[rollup[at]], rollup[at + 1], rollup[at + 2], rollup[1], rollup[2], rollup[3], rollup[4])
    end
  end
end

-- By how much a field's new value lets the device grow; nil: it may not.
local function growth_of(field, stored, capacity)
  local growth = stored and #field[2] - #stored or #field[1] + #field[2] + ENTRY_BYTES
  if may_grow then
    local is_within = growth <= 0 or state_bytes + growth <= most_state_bytes
    return is_within and (stored or capacity > 0) and growth or nil
  end
  return stored and (growth <= 0 or #field[2] <= SMALL_BYTES) and growth or nil
end

local function set_some(key, fields, start, stop, most, then_do)
  local names, pairs_of, capacity = {}, {}, nil
  for index = start, stop do
    names[#names + 1] = fields[index][1]
  end
  local all_stored = redis.call('HMGET', key, unpack(names))
  for index = start, stop do
    local field, stored = fields[index], all_stored[index - start + 1]
    if not stored then
      capacity = capacity or most - redis.call('HLEN', key)
    end
    local growth = growth_of(field, stored, capacity)
    if growth then
      pairs_of[#pairs_of + 1], pairs_of[#pairs_of + 2] = field[1], field[2]
      state_bytes = state_bytes + growth
      if not stored then
        capacity = capacity - 1
      end
    end
    if growth or stored then
      then_do(field)
    end
  end
  if #pairs_of > 0 then
    redis.call('HSET', key, unpack(pairs_of))
  end
end

-- Set hash fields, new ones only as far as there is capacity: for `most` of them, and in bytes. A value that does not fit
-- in place of a smaller one is left out. `then_do` runs for each field that the hash has then.
local function set_bounded(key, fields, most, then_do)
  for start = 1, #fields, FIELD_STEP do
    set_some(key, fields, start, math.min(#fields, start + FIELD_STEP - 1), most, then_do)
  end
end

-- What a hash takes, of a device that has not counted it yet.
local function size_of(key)
  local bytes = 0
  for index, part in ipairs(redis.call('HGETALL', key)) do
    bytes = bytes + #part + (index % 2) * ENTRY_BYTES
  end
  return bytes
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
  'history_bytes', 'state_bytes')
local position = stored[1] or '0-0'
if not fits(position, write[AFTER], write[FIRST]) then
  return position
end

local history_count, history_bytes = 0, 0
if may_grow then
  history_count, history_bytes = append_history(write[CHUNKS], tonumber(stored[6] or 0), tonumber(stored[7] or 0))
else
  redis.call('UNLINK', history)
end
state_bytes = tonumber(stored[8]) or (size_of(values) + size_of(topics))
set_bounded(values, write[FIELDS], tonumber(ARGV[6]), merge_rollups)
set_bounded(topics, write[TOPICS], tonumber(ARGV[7]), function() end)
redis.call('HSET', record, 'position', write[LAST], 'last_seen', math.max(write[LAST_MS], tonumber(stored[2] or 0)),
  'first_seen', stored[3] or write[FIRST_MS], 'messages', tonumber(stored[4] or 0) + write[MESSAGES],
  'bytes', tonumber(stored[5] or 0) + write[BYTES], 'client_id', write[CLIENT_ID],
  'history_count', history_count, 'history_bytes', history_bytes, 'state_bytes', state_bytes)
return nil
