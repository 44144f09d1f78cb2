-- Enter devices into the index by name, as long as it has capacity. Those that do not fit are refused.
-- A decision stands for all of a batch of the log, also where the batch is read again with another bound: no device is new
-- to messages up to `refused_to`, because some of them may be in the collective device's views.
-- KEYS: names, admission. ARGV: most devices; ids of the first message of the batch and of the last of these; devices.
-- Returns the number of devices, then 1 or 0 for each: admitted or refused.

local names, admission = KEYS[1], KEYS[2]
local most, first, last = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local count = redis.call('ZCARD', names)
local refused_to = redis.call('HGET', admission, 'refused_to') or '0-0'
local is_open = is_after(first, refused_to)
local known = redis.call('ZMSCORE', names, unpack(ARGV, 4))
local answer, refused = {count}, 0
for index, score in ipairs(known) do
  local is_admitted = score ~= false
  if not is_admitted and is_open and count < most then
    redis.call('ZADD', names, 0, ARGV[index + 3])
    count, is_admitted = count + 1, true
  end
  answer[index + 1] = is_admitted and 1 or 0
  refused = refused + 1 - answer[index + 1]
end
if refused > 0 and is_after(last, refused_to) then
  redis.call('HSET', admission, 'refused_to', last)
end
answer[1] = count
return answer
