-- Delete a user's record, counters and list of keys.
--
-- KEYS[1] the user's record    KEYS[2] the prefix of the user's counters
--
-- Returns {1, what was listed of each key}, with 0 when there was no record.

local listed = redis.call('HVALS', KEYS[2] .. ':keys')
for _, kind in ipairs({':requests', ':tokens', ':parallel', ':lengths', ':leases', ':keys', ':quotas'}) do
  redis.call('DEL', KEYS[2] .. kind)
end
return {redis.call('DEL', KEYS[1]), listed}
