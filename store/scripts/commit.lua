-- One commit: the batch as one entry of the ingest log, the retained messages it changes and what it does to sessions;
-- all or nothing.
-- KEYS  log, committed (this node's marker), retained, retained index, then the keys that operations name by their index
-- ARGV  commit number, marker's time to live in s, frame ("" for none), most retained messages,
--       most messages and bytes of a session's queue and most ms one waits in it, operations (msgpack, "" for none),
--       number of retained pairs, then these pairs (topic name, frame or ""), then entries that operations name by their index
-- An operation is {'enqueue', session key, queue key, entry, ms since when it waits},
--       {'dequeue', session key, queue key, entry id, bytes, whether it is dropped},
--       {'rename', key, new key, time to live in s} or {command, key, arguments …}.
-- Returns {1 if stored now or 0 if an earlier try had stored it, retained messages refused for lack of room,
--          for each enqueue the sequence number it got, 0 if the queue is full, -1 if the session is gone,
--          entries dropped}.
-- A commit is tried again when its outcome is unknown; its number, which only grows, makes the repeat harmless.
local number = tonumber(ARGV[1])
if number <= tonumber(redis.call('GET', KEYS[2]) or '0') then
  redis.call('EXPIRE', KEYS[2], ARGV[2])  -- a write, so that WAITAOF on this connection waits for the first try as well
  return {0, 0, {}, 0}
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
if ARGV[3] ~= '' then
  redis.call('XADD', KEYS[1], '*', 'f', ARGV[3])
end

local refused, most = 0, tonumber(ARGV[4])
local entries_at = 10 + 2 * tonumber(ARGV[9])
for i = 10, entries_at - 1, 2 do
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

local dropped = 0

local function dequeue(session, queue, id, bytes, is_dropped)
  if redis.call('XDEL', queue, id) == 1 then  -- else it went to make room
    redis.call('HINCRBY', session, 'queued_bytes', -bytes)
    dropped = dropped + (is_dropped and 1 or 0)
  end
end

-- Drops the first entry that was never sent, if it is too old. Returns whether it did.
local function drop_old(session, queue)
  local sent = redis.call('HGET', session, 'sent') or '0'
  local first = redis.call('XRANGE', queue, '(0-' .. sent, '+', 'COUNT', 1)[1]
  if not first then
    return false
  end
  local entry, since_ms, now = first[2][2], first[2][4], redis.call('TIME')
  if now[1] * 1000 + now[2] / 1000 - since_ms <= tonumber(ARGV[7]) then
    return false
  end
  dequeue(session, queue, first[1], #entry, true)
  return true
end

local function enqueue(session, queue, entry, since_ms)
  local bytes = redis.call('HGET', session, 'queued_bytes')
  if not bytes then
    return -1
  end
  while redis.call('XLEN', queue) >= tonumber(ARGV[5]) or bytes + #entry > tonumber(ARGV[6]) do
    if not drop_old(session, queue) then
      return 0
    end
    bytes = redis.call('HGET', session, 'queued_bytes')
  end
  redis.call('HINCRBY', session, 'queued_bytes', #entry)
  local id = redis.call('XADD', queue, '0-*', 'd', entry, 't', since_ms)
  return tonumber(string.sub(id, 3))
end

local numbers = {}
if ARGV[8] ~= '' then
  for _, operation in ipairs(cmsgpack.unpack(ARGV[8])) do
    if operation[1] == 'enqueue' then
      local entry, since_ms = ARGV[entries_at + operation[4]], operation[5]
      numbers[#numbers + 1] = enqueue(KEYS[operation[2]], KEYS[operation[3]], entry, since_ms)
    elseif operation[1] == 'dequeue' then
      dequeue(KEYS[operation[2]], KEYS[operation[3]], operation[4], operation[5], operation[6])
    elseif operation[1] == 'rename' then
      if redis.call('EXISTS', KEYS[operation[2]]) == 1 then
        redis.call('RENAME', KEYS[operation[2]], KEYS[operation[3]])
        redis.call('EXPIRE', KEYS[operation[3]], operation[4])
      end
    else
      redis.call(operation[1], KEYS[operation[2]], unpack(operation, 3))
    end
  end
end
return {1, refused, numbers, dropped}
