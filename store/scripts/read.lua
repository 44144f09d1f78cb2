-- Read the log KEYS[1] after the entry ARGV[1] until ARGV[2] bytes or ARGV[3] entries are together.
-- XREAD can only count entries, and one entry is anything from 100 bytes to a whole commit.
local STEP = 4
local read, bytes, after = {}, 0, ARGV[1]
while bytes < tonumber(ARGV[2]) and #read < tonumber(ARGV[3]) do
  local entries = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', STEP)
  for _, entry in ipairs(entries) do
    read[#read + 1] = entry
    bytes = bytes + #(entry[2][2] or '')
    after = entry[1]
  end
  if #entries < STEP then
    break
  end
end
return read
