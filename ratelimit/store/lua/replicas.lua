-- KEYS: the set of replicas, by when each was last heard of. ARGV: this replica, seconds after which one counts as gone.
-- Returns how many there are, this one included, and how many of them sort before this one.
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
-- Nobody is heard of in the future.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
redis.call('EXPIRE', KEYS[1], 2 * tonumber(ARGV[2]))
local names = redis.call('ZRANGE', KEYS[1], 0, MAX_REPLICAS - 1)
table.sort(names)
for rank, name in ipairs(names) do
  if name == ARGV[1] then
    return {#names, rank - 1}
  end
end
return {#names, 0}
