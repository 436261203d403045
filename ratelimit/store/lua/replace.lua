-- Replace a record that is still what it was when it was read.
--
-- KEYS[1] the user's record    ARGV as it was read, as it shall be
--
-- Returns 1, or 0 when it is another one by now, or gone.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
