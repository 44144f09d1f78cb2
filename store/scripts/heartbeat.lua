#!lua flags=allow-oom
-- What a node says of itself, also while the store is full: the dashboard would else take it for gone.
-- KEYS: nodes, this node's info. ARGV: node; now, and before when others are forgotten (ms); seconds it counts; info as pairs.
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('HSET', KEYS[2], unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 1
