-- Read the log KEYS[1] after the entry ARGV[1], until ARGV[2] bytes, ARGV[3] messages or ARGV[4] entries are together.
-- XREAD can only count entries, and one entry is anything from 100 bytes to a whole commit. The first is always read.
local MOST_STEP = 32
local most_bytes, most_messages, most_entries = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local read, bytes, messages, after = {}, 0, 0, ARGV[1]

local function message_count(frame) -- a msgpack array
  local head, a, b, c, d = string.byte(frame, 1, 5)
  if head == 0xdc then
    return a * 256 + b
  elseif head == 0xdd then
    return ((a * 256 + b) * 256 + c) * 256 + d
  end
  return head and head >= 0x90 and head < 0xa0 and head - 0x90 or 0
end

local function step() -- what is read and does not fit was copied in vain
  local left = (most_bytes - bytes) / math.max(1, bytes / math.max(1, #read))
  return #read == 0 and 1 or math.max(1, math.min(MOST_STEP, math.floor(left)))
end

while #read < most_entries do
  local count = step()
  local entries = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', count)
  for _, entry in ipairs(entries) do
    local frame = entry[2][2] or ''
    bytes, messages = bytes + #frame, messages + message_count(frame)
    if #read > 0 and (bytes > most_bytes or messages > most_messages or #read == most_entries) then
      return read
    end
    read[#read + 1] = entry
    after = entry[1]
  end
  if #entries < count then
    break
  end
end
return read
