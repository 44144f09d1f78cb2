-- One commit: the batch as one entry of the ingest log, the retained messages it changes, what it does to sessions and
-- what it sends to other nodes; all or nothing.
-- KEYS  log, committed (this node's marker), retained, retained index, this node's member record and list of lost clients,
--       routes, routes' version, this node's inbox, accounts, then the keys that operations name by their index
-- ARGV  commit number, marker's time to live in s, frame ("" for none), most retained messages,
--       most messages and bytes of a session's queue and most ms one waits in it, operations (msgpack, "" for none),
--       number of retained pairs, node, how many lost clients and which version of the routes it knows, milliseconds now,
--       up to where it has read its inbox, most bytes of all retained messages, of all queues, of one inbox, of the routes,
--       then these pairs (topic name, frame or ""), then entries that operations name by their index
-- Operations:
--   {'enqueue', session key, queue key, entry, ms since when it waits}
--   {'enqueue_retained', session key, queue key, entry, ms since when it waits, topic name, version}
--       only if that version of the retained message is still the one that is stored: a newer one has come live
--   {'dequeue', session key, queue key, entry id, bytes, whether it is dropped}
--   {'own', client, 1 if its session begins anew}   this node serves the client from now on
--   {'pass_on', client}   its session ends: what it shares and has in its queue goes into this node's inbox
--   {'end', client}       its session ends
--   {'disown', client}
--   {'change', change}                              of the routes, for every node
--   {'deliver', node, entry, messages}              into another node's inbox
--   {'read_up_to', entry id, bytes}                 take entries out of this node's inbox
--   {command, key, arguments …}
-- Returns
--   {1 if stored now or 0 if an earlier try had stored it, retained messages refused for lack of room,
--    for each enqueue the sequence number it got, 0 if the queue is full, -1 if the session is gone, -2 if it is outdated,
--    entries dropped, routes' version, unread entries of the inbox: they were stored before this commit,
--    version of the retained messages before this commit, messages that this node's full inbox has missed}
--   {2, number of lost clients, those not known, routes' version, the changes not known or 0: read them all,
--    unread entries of the inbox, messages missed}
--    if this node has to take note of something first: nothing is stored
--   {3} if the other nodes have declared this one dead: nothing is stored
-- A commit is tried again when its outcome is unknown; its number, which only grows, makes the repeat harmless.
local RETAINED_OVERHEAD, SMALL_RETAINED, SMALL_QUEUE = 150, 1024, 65536
local FIRST_PAIR = 19
local number, node, now_ms = tonumber(ARGV[1]), ARGV[10], tonumber(ARGV[13])
local lost, missed = unpack(redis.call('HMGET', KEYS[5], 'lost', 'missed'))
lost, missed = tonumber(lost), tonumber(missed or '0')
local done, read_to, retained_before = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (%S+) (%d+)$')
if number <= tonumber(done or '0') then
  redis.call('EXPIRE', KEYS[2], ARGV[2])  -- a write, so that WAITAOF on this connection waits for the first try as well
  return {0, 0, {}, 0, 0, redis.call('XRANGE', KEYS[9], '(' .. ARGV[14], read_to), tonumber(retained_before), missed}
end

if not lost or lost < tonumber(ARGV[11]) then  -- fewer than it knows: the store has lost what it had acknowledged
  return {3}
end
local inbox = redis.call('XRANGE', KEYS[9], '(' .. ARGV[14], '+', 'COUNT', 1000)
read_to = #inbox > 0 and inbox[#inbox][1] or ARGV[14]
local version, known_version = tonumber(redis.call('GET', KEYS[8]) or '0'), tonumber(ARGV[12])
local new = lost - tonumber(ARGV[11])
if new > 0 or version ~= known_version or #inbox == 1000 then  -- 1000: there is more, and all of it comes first
  local clients, changes = {}, {}
  if new > 0 then
    redis.call('LTRIM', KEYS[6], -new, -1)
    clients = redis.call('LRANGE', KEYS[6], 0, -1)
  end
  if version ~= known_version then
    local oldest = redis.call('XRANGE', KEYS[7], '-', '+', 'COUNT', 1)[1]
    local is_complete = version > known_version and oldest and tonumber(string.sub(oldest[1], 3)) <= known_version + 1
    changes = is_complete and redis.call('XRANGE', KEYS[7], '(0-' .. known_version, '+', 'COUNT', 1000) or 0
  end
  return {2, lost, clients, version, changes, inbox, missed}
end

-- What retained messages and queues take in all is kept in a hash beside them, and brought up to date once a commit.
local has_changes = ARGV[8] ~= '' or ARGV[9] ~= '0'
local retained_bytes, queues_bytes, retained_change, queues_change = 0, 0, 0, 0
retained_before = '0'
if has_changes then
  local found = redis.call('HMGET', KEYS[10], 'retained', 'queues', 'retained_version')
  retained_bytes, queues_bytes = tonumber(found[1] or '0'), tonumber(found[2] or '0')
  retained_before = found[3] or '0'
end

if ARGV[3] ~= '' then
  redis.call('XADD', KEYS[1], '*', 'f', ARGV[3])
end
-- Behind the first write: a store that refuses that stores nothing.
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. read_to .. ' ' .. retained_before, 'EX', ARGV[2])

-- The last eighth of an account is for what is small, so that one large holder never locks everybody out.
local function bound(limit, is_small)
  return is_small and limit or limit * 7 / 8
end

local refused = 0
local entries_at = FIRST_PAIR + 2 * tonumber(ARGV[9])
local retained_version = retained_before
if ARGV[9] ~= '0' then
  retained_version = redis.call('HINCRBY', KEYS[10], 'retained_version', 1)
end
for i = FIRST_PAIR, entries_at - 1, 2 do
  local topic_name, frame = ARGV[i], ARGV[i + 1]
  local fixed = 2 * #topic_name + RETAINED_OVERHEAD
  local old = redis.call('HSTRLEN', KEYS[3], topic_name)
  local freed = old > 0 and old + fixed or 0
  local value = retained_version .. ':' .. frame
  local size, total = #value + fixed, retained_bytes + retained_change - freed
  if frame ~= '' and (old > 0 or redis.call('HLEN', KEYS[3]) < tonumber(ARGV[4]))
    and total + size <= bound(tonumber(ARGV[15]), size <= SMALL_RETAINED) then
    redis.call('HSET', KEYS[3], topic_name, value)
    redis.call('ZADD', KEYS[4], 0, topic_name)
    retained_change = retained_change - freed + size
  else
    redis.call('HDEL', KEYS[3], topic_name)  -- also where it is refused: what was retained before is outdated
    redis.call('ZREM', KEYS[4], topic_name)
    retained_change = retained_change - freed
    refused = refused + (frame ~= '' and 1 or 0)
  end
end

-- The stream of changes has a bound in bytes: a node that needs what is gone reads all routes anew.
local function change(blob)
  version = redis.call('INCR', KEYS[8])
  redis.call('XADD', KEYS[7], '0-' .. version, 'c', blob)
  local bytes = redis.call('HINCRBY', KEYS[10], 'routes', #blob)
  while bytes > tonumber(ARGV[18]) do
    local oldest = redis.call('XRANGE', KEYS[7], '-', '+', 'COUNT', 16)
    if #oldest < 2 then
      break
    end
    for at = 1, #oldest - 1 do
      redis.call('XDEL', KEYS[7], oldest[at][1])
      bytes = redis.call('HINCRBY', KEYS[10], 'routes', -#oldest[at][2][2])
    end
  end
end

local dropped = 0

local function dequeue(session, queue, id, bytes, is_dropped)
  if redis.call('XDEL', queue, id) == 1 then  -- else it went to make room
    redis.call('HINCRBY', session, 'queued_bytes', -bytes)
    queues_change = queues_change - bytes
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
  if queues_bytes + queues_change + #entry > bound(tonumber(ARGV[16]), bytes + #entry <= SMALL_QUEUE) then
    return 0
  end
  redis.call('HINCRBY', session, 'queued_bytes', #entry)
  queues_change = queues_change + #entry
  local id = redis.call('XADD', queue, '0-*', 'd', entry, 't', since_ms)
  return tonumber(string.sub(id, 3))
end

local function enqueue_retained(session, queue, entry, since_ms, topic_name, entry_version)
  local stored = redis.call('HGET', KEYS[3], topic_name)
  local stored_version = stored and (string.match(stored, '^(%d+):') or '0')
  if stored_version ~= entry_version then
    return -2
  end
  return enqueue(session, queue, entry, since_ms)
end

local function delete_session(client)
  queues_change = queues_change - (redis.call('HGET', '{log}:session:' .. client, 'queued_bytes') or 0)
  for _, part in ipairs({'session', 'subscriptions', 'queue', 'received', 'released'}) do
    redis.call('UNLINK', '{log}:' .. part .. ':' .. client)
  end
  redis.call('ZREM', '{log}:sessions', client)
end

local function deliver(other, entry, messages)
  local member, key = '{log}:member:' .. other, '{log}:inbox:' .. other
  local is_member, bytes = unpack(redis.call('HMGET', member, 'lost', 'inbox_bytes'))
  bytes = tonumber(bytes or '0')
  if is_member and bytes > 0 and bytes + #entry > tonumber(ARGV[17]) then
    redis.call('HINCRBY', member, 'missed', messages)
  elseif redis.call('XADD', key, 'NOMKSTREAM', '*', 'm', entry) and is_member then
    redis.call('HINCRBY', member, 'inbox_bytes', #entry)
  end
end

local function read_up_to(id, bytes)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  redis.call('XTRIM', KEYS[9], 'MINID', ms .. '-' .. string.format('%.0f', sequence + 1))
  redis.call('HINCRBY', KEYS[5], 'inbox_bytes', -bytes)
end

local function take_will(owner, client, is_over)
  local will = redis.call('HGET', '{log}:wills:' .. owner, 'c:' .. client)
  if will then
    redis.call('HDEL', '{log}:wills:' .. owner, 'c:' .. client)
    if is_over or string.sub(will, 1, 1) == '0' then  -- 1: it has a delay, and this connection comes in time
      redis.call('HSET', '{log}:wills:' .. node, 'd:' .. client, will)
      redis.call('XADD', '{log}:inbox:' .. node, 'NOMKSTREAM', '*', 'w', client, 'v', will)
    end
  end
end

-- As entries of so many each: `q` was never sent, `r` was. What is not shared and only looks like it is sorted out there.
local function pass_on(client)
  local sent = tonumber(redis.call('HGET', '{log}:session:' .. client, 'sent') or '0')
  local after, page = '-', {}
  repeat
    page = redis.call('XRANGE', '{log}:queue:' .. client, after, '+', 'COUNT', 100)
    local fields = {}
    for _, each in ipairs(page) do
      after = '(' .. each[1]
      if string.find(each[2][2], '$share/', 1, true) then
        fields[#fields + 1] = tonumber(string.sub(each[1], 3)) > sent and 'q' or 'r'
        fields[#fields + 1] = each[2][2]
      end
    end
    if #fields > 0 then
      redis.call('XADD', KEYS[9], 'NOMKSTREAM', '*', unpack(fields))
    end
  until #page < 100
end

local function own(client, is_new)
  local score = redis.call('ZSCORE', '{log}:sessions', client)
  local is_over = is_new == 1 or (score and tonumber(score) < now_ms)
  local owner = redis.call('HGET', '{log}:owners', client)
  if owner and owner ~= node then
    if redis.call('EXISTS', '{log}:member:' .. owner) == 1 then
      local position = redis.call('HINCRBY', '{log}:member:' .. owner, 'lost', 1)
      redis.call('RPUSH', '{log}:lost:' .. owner, client)
      redis.call('XADD', '{log}:inbox:' .. owner, 'NOMKSTREAM', '*', 'x', client, 'n', position)
    end
    redis.call('SREM', '{log}:owned:' .. owner, client)
  end
  if owner then
    take_will(owner, client, is_over)  -- this node's own, where it has adopted the client and does not know it yet
  end
  redis.call('HSET', '{log}:owners', client, node)
  redis.call('SADD', '{log}:owned:' .. node, client)
  if score and is_over then
    pass_on(client)
    delete_session(client)
    change(cmsgpack.pack({'s', node, client}))
  end
end

local function disown(client)
  if redis.call('HGET', '{log}:owners', client) == node then
    redis.call('HDEL', '{log}:owners', client)
    redis.call('SREM', '{log}:owned:' .. node, client)
  end
end

local numbers = {}
if ARGV[8] ~= '' then
  for _, operation in ipairs(cmsgpack.unpack(ARGV[8])) do
    local name = operation[1]
    if name == 'enqueue' then
      local entry, since_ms = ARGV[entries_at + operation[4]], operation[5]
      numbers[#numbers + 1] = enqueue(KEYS[operation[2]], KEYS[operation[3]], entry, since_ms)
    elseif name == 'enqueue_retained' then
      local entry, since_ms = ARGV[entries_at + operation[4]], operation[5]
      numbers[#numbers + 1] =
        enqueue_retained(KEYS[operation[2]], KEYS[operation[3]], entry, since_ms, operation[6], operation[7])
    elseif name == 'dequeue' then
      dequeue(KEYS[operation[2]], KEYS[operation[3]], operation[4], operation[5], operation[6])
    elseif name == 'own' then
      own(operation[2], operation[3])
    elseif name == 'pass_on' then
      pass_on(operation[2])
    elseif name == 'end' then
      delete_session(operation[2])
    elseif name == 'disown' then
      disown(operation[2])
    elseif name == 'deliver' then
      deliver(operation[2], operation[3], operation[4])
    elseif name == 'read_up_to' then
      read_up_to(operation[2], operation[3])
    elseif name == 'change' then
      change(operation[2])
    else
      redis.call(name, KEYS[operation[2]], unpack(operation, 3))
    end
  end
end
if retained_change ~= 0 then
  redis.call('HINCRBY', KEYS[10], 'retained', retained_change)
end
if queues_change ~= 0 then
  redis.call('HINCRBY', KEYS[10], 'queues', queues_change)
end
return {1, refused, numbers, dropped, version, inbox, tonumber(retained_before), missed}
