#!lua flags=allow-oom
-- Remove the old end of a device's history, also while the store is full.
-- Redis keeps a stream in nodes of some KiB and frees whole ones: only these go, the rest would be lost for nothing.
-- KEYS: record, history. ARGV: oldest ms kept; 1 if the newest node stays however old it is; most chunks looked at.
-- Returns {messages removed; their bytes; ms of the oldest chunk that could go at a later time, 0: none}.

local STEP = 16
local record, history = KEYS[1], KEYS[2]
local keep_from_ms, keeps_newest, most = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3])

local function ms_of(id)
  return tonumber(string.match(id, '^%d+'))
end

-- Returns how many nodes there are, and the ids of the first and the last chunk.
local function look()
  local found = {}
  local info = redis.call('XINFO', 'STREAM', history)
  for i = 1, #info, 2 do
    found[info[i]] = info[i + 1]
  end
  local oldest, newest = found['first-entry'], found['last-entry']
  return found['radix-tree-keys'], oldest and oldest[1], newest and newest[1]
end

local function remove_all()
  local held = redis.call('HMGET', record, 'history_count', 'history_bytes')
  redis.call('DEL', history)
  redis.call('HDEL', record, 'history_count', 'history_bytes')
  return {tonumber(held[1] or 0), tonumber(held[2] or 0), 0}
end

-- Returns the chunks before an id, at most so many; and the id, or that of the first chunk that is too many.
local function chunks_before(id)
  local chunks, after = {}, '-'
  while true do
    local some = redis.call('XRANGE', history, after, '(' .. id, 'COUNT', STEP)
    for _, entry in ipairs(some) do
      if #chunks == most then
        return chunks, entry[1]
      end
      local fields = entry[2] -- f, frame, i, ids, n, count
      chunks[#chunks + 1] = {entry[1], tonumber(fields[6]), #fields[2] + #fields[4]}
    end
    if #some < STEP then
      return chunks, id
    end
    after = '(' .. some[#some][1]
  end
end

if redis.call('EXISTS', history) == 0 then
  return {0, 0, 0}
end
local nodes, first, last = look()
if not last or (not keeps_newest and ms_of(last) < keep_from_ms) then
  return remove_all()
elseif nodes == 1 then
  return {0, 0, keeps_newest and 0 or ms_of(last)}
end

local chunks, bound = chunks_before(ms_of(last) < keep_from_ms and last or ARGV[1])
redis.call('XTRIM', history, 'MINID', '~', bound, 'LIMIT', 0)
nodes, first = look()
local messages, bytes = 0, 0
for _, chunk in ipairs(chunks) do
  if chunk[1] == first then
    break
  end
  messages, bytes = messages + chunk[2], bytes + chunk[3]
end
if messages > 0 then
  redis.call('HINCRBY', record, 'history_count', -messages)
  redis.call('HINCRBY', record, 'history_bytes', -bytes)
end
if nodes == 1 then
  return {messages, bytes, keeps_newest and 0 or ms_of(last)}
elseif bound == ARGV[1] then
  bound = redis.call('XRANGE', history, bound, '+', 'COUNT', 1)[1][1]
end
return {messages, bytes, ms_of(bound)}
