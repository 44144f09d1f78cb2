-- Put between position.lua and device.lua: for imported messages that are older than the last one of the device. The write
-- itself has no chunks, and ends where the device does.
-- ARGV, at the end: messages and bytes of the write; the device's `messages` as they were read; its new `gap`; by how much
-- its `history_count` and `history_bytes` grow; number of chunks to take out of the history, their ids, then the chunks to
-- put in (id, frame, ids, count each); number of these arguments without this one.

local is_as_read

-- Entries of a stream can only be added behind the last: it is written anew.
local function rewrite_history(gone, chunks)
  local entries = redis.call('XRANGE', KEYS[4], '-', '+')
  redis.call('DEL', KEYS[4])
  local at = 1
  local function put(limit)
    while at <= #chunks and not (limit and is_after(chunks[at][1], limit)) do
      local id, frame, ids, messages = unpack(chunks[at])
      redis.call('XADD', KEYS[4], id, 'f', frame, 'i', ids, 'n', messages)
      at = at + 1
    end
  end
  for _, entry in ipairs(entries) do
    if not gone[entry[1]] then
      put(entry[1])
      redis.call('XADD', KEYS[4], entry[1], unpack(entry[2]))
    end
  end
  put(nil)
end

do
  local start = #ARGV - tonumber(ARGV[#ARGV])
  local messages, bytes, read_messages, gap, more_count, more_bytes, gone_count = unpack(ARGV, start, start + 6)
  local write = cmsgpack.unpack(ARGV[1])
  local stored = redis.call('HMGET', KEYS[1], 'position', 'messages', 'first_seen')
  is_as_read = stored[1] == write[3] and stored[2] == read_messages
  if is_as_read then
    local gone, chunks = {}, {}
    for i = start + 7, start + 6 + gone_count do
      gone[ARGV[i]] = true
    end
    for i = start + 7 + gone_count, #ARGV - 1, 4 do
      chunks[#chunks + 1] = {ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]}
    end
    if #chunks > 0 then
      rewrite_history(gone, chunks)
    end
    redis.call('HINCRBY', KEYS[1], 'history_count', more_count)
    redis.call('HINCRBY', KEYS[1], 'history_bytes', more_bytes)
    redis.call('HINCRBY', KEYS[1], 'imported_messages', messages)
    redis.call('HINCRBY', KEYS[1], 'imported_bytes', bytes)
    redis.call('HSET', KEYS[1], 'gap', gap, 'first_seen', math.min(write[4], tonumber(stored[3])))
  end
end

local function fits()
  return is_as_read
end
