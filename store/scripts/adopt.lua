-- Take over some of the clients of a node that is gone, with their wills: what has no delay is due.
-- KEYS  dead, its clients, its wills, its inbox, owners, this node's member record, its clients, its wills
-- ARGV  the dead node, this node, how many clients at most
-- Returns {1 while there may be more, clients}.
-- What members of groups were to get of its inbox goes into the adopter's: it is handed on once, whoever dies meanwhile.
if redis.call('EXISTS', KEYS[6]) == 0 or redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  return {0, {}}
end

local function is_due(client, will)
  redis.call('HSET', KEYS[8], 'd:' .. client, will)
  redis.call('XADD', '{log}:inbox:' .. ARGV[2], 'NOMKSTREAM', '*', 'w', client, 'v', will)
end

local function inherit(fields)
  if fields[1] == 'm' then
    fields[1] = 's'
  end
  if string.find('sqr', fields[1], 1, true) and string.find(fields[2], '$share/', 1, true) then
    redis.call('XADD', '{log}:inbox:' .. ARGV[2], 'NOMKSTREAM', '*', unpack(fields))
  end
end

local entries = redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', ARGV[3])
for _, each in ipairs(entries) do
  inherit(each[2])
  redis.call('XDEL', KEYS[4], each[1])
end

local clients, taken = redis.call('SPOP', KEYS[2], ARGV[3]), {}
for _, client in ipairs(clients) do
  if redis.call('HGET', KEYS[5], client) == ARGV[1] then
    redis.call('HSET', KEYS[5], client, ARGV[2])
    redis.call('SADD', KEYS[7], client)
    local will = redis.call('HGET', KEYS[3], 'c:' .. client)
    if will then
      if string.sub(will, 1, 1) == '0' then
        is_due(client, will)
      else
        redis.call('HSET', KEYS[8], 'c:' .. client, will)
      end
      redis.call('HDEL', KEYS[3], 'c:' .. client)
    end
    taken[#taken + 1] = client
  end
end
if #clients > 0 or #entries > 0 then
  return {1, taken}
end
local due = redis.call('HGETALL', KEYS[3])
for i = 1, #due, 2 do
  if string.sub(due[i], 1, 2) == 'd:' then
    is_due(string.sub(due[i], 3), due[i + 1])
  end
end
redis.call('DEL', KEYS[3], KEYS[4])
redis.call('SREM', KEYS[1], ARGV[1])
return {0, taken}
