-- Delete a user's record, counters and list of keys.
--
-- KEYS[1] the user's record    KEYS[2] the prefix of the user's counters
--
-- Returns 1, or 0 when there was no record.

for _, kind in ipairs({':requests', ':tokens', ':parallel', ':keys'}) do
  redis.call('DEL', KEYS[2] .. kind)
end
return redis.call('DEL', KEYS[1])
