-- Charge the tokens of one exchange, once per charge id.
--
-- KEYS[1] the charge's marker    KEYS[2] the prefix of the user's counters, in the marker's slot (see admit.lua)
-- ARGV    tokens, seconds to remember the charge, window seconds
--
-- Returns 1, or 0 when the charge had been settled before.

if not redis.call('SET', KEYS[1], '', 'NX', 'EX', ARGV[2]) then
  return 0
end
if tonumber(ARGV[1]) > 0 then
  local span = tonumber(ARGV[3])
  local key = KEYS[2] .. ':tokens:' .. math.floor(redis.call('TIME')[1] / span)
  redis.call('INCRBY', key, ARGV[1])
  redis.call('EXPIRE', key, 2 * span)
end
return 1
