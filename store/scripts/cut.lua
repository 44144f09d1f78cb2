-- Cut off the log's old end, whoever has not taken it, and count the messages that so go by each outlet.
-- KEYS: the log, then the hashes of outlets (store/outlet_state.py). ARGV: entry before which to cut; bytes to cut.
-- Returns the bytes cut.

local STEP = 4
local log, before, bytes = KEYS[1], '(' .. ARGV[1], tonumber(ARGV[2])

local function message_count(frame) -- a msgpack array
  local head, a, b, c, d = string.byte(frame, 1, 5)
  if head == 0xdc then
    return a * 256 + b
  elseif head == 0xdd then
    return ((a * 256 + b) * 256 + c) * 256 + d
  end
  return head and head >= 0x90 and head < 0xa0 and head - 0x90 or 0
end

local function first_message(entry_id)
  local ms, seq = string.match(entry_id, '^(%d+)-(%d+)$')
  return string.format('%s-%.0f', ms, seq * 65536)
end

local positions, lost = {}, {}
for index = 2, #KEYS do
  positions[index], lost[index] = redis.call('HGET', KEYS[index], 'position') or '0-0', 0
end

local cut, last = 0, nil
while cut < bytes do
  local entries = redis.call('XRANGE', log, last and '(' .. last or '-', before, 'COUNT', STEP)
  for _, entry in ipairs(entries) do
    local id, frame = entry[1], entry[2][2] or ''
    for index, position in pairs(positions) do
      if is_after(first_message(id), position) then
        lost[index] = lost[index] + message_count(frame)
      end
    end
    cut, last = cut + #frame, id
  end
  if #entries < STEP then
    break
  end
end
if last then
  local ms, seq = string.match(last, '^(%d+)-(%d+)$')
  redis.call('XTRIM', log, 'MINID', string.format('%s-%.0f', ms, seq + 1))
end
for index, messages in pairs(lost) do
  if messages > 0 then
    redis.call('HINCRBY', KEYS[index], 'lost', messages)
  end
end
return cut
