#!lua flags=allow-oom
-- Remove a device's rollups of one unit, from one hash of every field to another, also while the store is full.
-- KEYS: values: its fields are those that have rollups. ARGV: what the hashes' keys begin with; first and last number.
-- Returns how many hashes there were.
local removed = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  for number = tonumber(ARGV[2]), tonumber(ARGV[3]) do
    removed = removed + redis.call('UNLINK', ARGV[1] .. number .. ':' .. field)
  end
end
return removed
