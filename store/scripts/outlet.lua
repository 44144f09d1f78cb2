-- Note how far an outlet is. KEYS: its hash (store/outlet_state.py).
-- ARGV: id of the last message written (0-0: nothing new), messages written, error (empty: none), now (ms),
--       documents, bytes and stored bytes that it holds.
-- The position only moves forward: who was slower than another writer changes no more than the rest.

local hash, position, written, error, now = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if is_after(position, redis.call('HGET', hash, 'position') or '0-0') then
  redis.call('HSET', hash, 'position', position)
  redis.call('HINCRBY', hash, 'written', written)
end
local since = redis.call('HGET', hash, 'error_since_ms') or '0'
if error == '' then
  since = 0
elseif since == '0' then
  since = now
end
redis.call('HSET', hash, 'error', error, 'error_since_ms', since, 'updated_ms', now,
  'documents', ARGV[5], 'bytes', ARGV[6], 'stored_bytes', ARGV[7])
