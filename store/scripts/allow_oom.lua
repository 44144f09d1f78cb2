#!lua flags=allow-oom
-- Prepended to a script that frees memory: Redis runs it also when it is over `maxmemory`.
