-- What a user has spent and holds; changes nothing.
--
-- KEYS[1] the user's record    KEYS[2] the prefix of the user's counters
-- ARGV    default requests per minute, default tokens per request, periods of the calendar (tenancy.lua)
--
-- Returns {outcome}, or {outcome, rpm, tpm, max parallel, requests used, tokens used, slots taken, quotas}.

local record, answer = read_record()
if not record then
  return answer
end
local requests = parse_window(redis.call('HGET', KEYS[2] .. ':requests', ''), record.rpm)
local tokens = parse_window(redis.call('HGET', KEYS[2] .. ':tokens', ''), record.tpm)
local tenancy = read_tenancy(record, ARGV[3]) or {group = '', counters = {}}
local taken = redis.call('ZCOUNT', KEYS[2] .. ':parallel', string.format('(%.0f', now_us), '+inf')
return {'admitted', string.format('%.0f', record.rpm), string.format('%.0f', record.tpm),
        string.format('%.0f', record.max_parallel), requests.used, tokens.used, taken, told_quotas(tenancy)}
