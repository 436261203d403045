-- Delete a user's record and counters.
--
-- KEYS[1] the user's record    KEYS[2] the prefix of the user's counters, in the record's slot (see admit.lua)
-- ARGV    window seconds
--
-- Returns 1, or 0 when there was no record.

local window = math.floor(redis.call('TIME')[1] / tonumber(ARGV[1]))
for _, kind in ipairs({':requests:', ':tokens:'}) do
  redis.call('DEL', KEYS[2] .. kind .. window - 1, KEYS[2] .. kind .. window)
end
return redis.call('DEL', KEYS[1])
