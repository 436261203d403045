-- Give a parallel slot back. When there is none and no charge either, the admission may still come: it takes no slot.
--
-- KEYS[1] the user's parallel slots    KEYS[2] the charge    ARGV charge id

local charge = redis.pcall('GET', KEYS[2])
local group = type(charge) == 'string' and string.match(charge, '\n([^\n]+)\n[^\n]*$')
if group then
  redis.call('ZREM', 'gateway:{gateway-groups/' .. group .. '}:parallel', ARGV[1])
end
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then
  redis.call('SET', KEYS[2], 'ended', 'NX', 'EX', SETTLED_SECONDS)
end
return 1
