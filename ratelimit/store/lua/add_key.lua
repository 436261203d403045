-- List a new API key of a user, with the time of its creation.
--
-- KEYS[1] the user's keys    KEYS[2] the user's record    ARGV key id, what is known of it
--
-- Returns 1, 0 when the user has too many, or -1 when there is no such user.

if redis.call('EXISTS', KEYS[2]) == 0 then
  return -1
end
if redis.call('HLEN', KEYS[1]) >= MAX_KEYS then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], redis.call('TIME')[1] .. ' ' .. ARGV[2])
return 1
