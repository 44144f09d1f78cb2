-- Find a device's oldest rollups of one unit.
-- KEYS: values: its fields are those that have rollups. ARGV: what the hashes' keys begin with; first and last number.
-- Returns the number of the first hash there is; -1: there is none.
local fields = redis.call('HKEYS', KEYS[1])
for number = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  for _, field in ipairs(fields) do
    if redis.call('EXISTS', ARGV[1] .. number .. ':' .. field) == 1 then
      return number
    end
  end
end
return -1
