-- Read sessions with their subscriptions, as many as fit into a number of bytes, at least one.
-- KEYS  sessions
-- ARGV  bytes, then client ids
-- Returns for each client that was read {expiry interval or nil, score or nil, fields and values of its subscriptions}.
local found, bytes = {}, 0

-- Sessions used to have their subscriptions as one list in JSON.
local function split_list(client)
  local list = redis.call('HGET', '{log}:session:' .. client, 'subscriptions')
  if list then
    for _, each in ipairs(cjson.decode(list)) do
      redis.call('HSET', '{log}:subscriptions:' .. client, each[1], cjson.encode({unpack(each, 2)}))
    end
    redis.call('HDEL', '{log}:session:' .. client, 'subscriptions')
  end
end

for at = 2, #ARGV do
  local client = ARGV[at]
  split_list(client)
  local flat = redis.call('HGETALL', '{log}:subscriptions:' .. client)
  for _, each in ipairs(flat) do
    bytes = bytes + #each
  end
  if #found > 0 and bytes > tonumber(ARGV[1]) then
    break
  end
  found[#found + 1] = {
    redis.call('HGET', '{log}:session:' .. client, 'expiry'), redis.call('ZSCORE', KEYS[1], client), flat
  }
end
return found
