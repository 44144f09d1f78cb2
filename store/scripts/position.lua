#!lua flags=allow-oom
-- Prepended to device.lua and fleet.lua: what makes a replayed or overlapping write harmless.
-- They also write while the store is full: what is in the views can be trimmed off the log (docs/decisions/0009).

local function is_after(left, right)
  local left_ms, left_seq = string.match(left, '^(%d+)-(%d+)$')
  local right_ms, right_seq = string.match(right, '^(%d+)-(%d+)$')
  left_ms, right_ms = tonumber(left_ms), tonumber(right_ms)
  if left_ms ~= right_ms then
    return left_ms > right_ms
  end
  return tonumber(left_seq) > tonumber(right_seq)
end

-- A write covers what the log holds after `after`, from `first` on. It fits if all up to `after` is applied
-- already and `first` is not.
local function fits(position, after, first)
  return is_after(first, position) and not is_after(after, position)
end
