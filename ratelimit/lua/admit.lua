-- Admit one request of one user: read the record, apply defaults, check all limits, debit all or nothing.
--
-- KEYS[1] the user's record    KEYS[2] the prefix of the user's counters, in the record's slot
-- ARGV    request cost, token cost, default requests per minute, default tokens per request, window seconds
--
-- The counters' keys end in the number of the window, which is known only here, by the server's clock. They are derived
-- from KEYS[2], whose hash tag keeps them in the slot that the script was sent to.
--
-- Returns {outcome}, or {outcome, rpm, tpm, requests previous, current, tokens previous, current, elapsed microseconds}
-- with the counters as they were before the debit. The limits are text: they may exceed what a Lua number holds exactly.

local MAX_LIMIT = 2 ^ 63

local function limit(value)
  if value == nil then
    return 0
  end
  if type(value) == 'number' and value >= 0 and value <= MAX_LIMIT and value == math.floor(value) then
    return value
  end
  return nil
end

local function read_limits(raw)
  local decoded, record = pcall(cjson.decode, raw)
  if not decoded or type(record) ~= 'table' or type(record.name) ~= 'string' then
    return nil
  end
  local rpm, tpm = limit(record.rpm), limit(record.tpm)
  if not rpm or not tpm then
    return nil
  end
  if rpm == 0 then
    rpm = tonumber(ARGV[3])
  end
  if tpm == 0 then
    tpm = rpm * tonumber(ARGV[4])
  end
  return rpm, tpm
end

local raw = redis.pcall('GET', KEYS[1])
if not raw then
  return {'unknown_user'}
end
if type(raw) == 'table' then
  if string.find(raw.err, 'WRONGTYPE', 1, true) then
    return {'corrupt_record'}
  end
  return raw
end
local rpm, tpm = read_limits(raw)
if not rpm then
  return {'corrupt_record'}
end

local span = tonumber(ARGV[5])
local time = redis.call('TIME')
local window = math.floor(time[1] / span)
local elapsed_us = (time[1] - window * span) * 1000000 + time[2]
local weight = 1 - elapsed_us / 1000000 / span

local requests_key = KEYS[2] .. ':requests:' .. window
local tokens_key = KEYS[2] .. ':tokens:' .. window
local counts = redis.call('MGET',
  KEYS[2] .. ':requests:' .. window - 1, requests_key,
  KEYS[2] .. ':tokens:' .. window - 1, tokens_key)
for i = 1, 4 do
  counts[i] = tonumber(counts[i] or 0)
end

local request_cost, token_cost = tonumber(ARGV[1]), tonumber(ARGV[2])
local requests_used = counts[1] * weight + counts[2]
local tokens_used = counts[3] * weight + counts[4]
local outcome = 'admitted'
if requests_used + request_cost > rpm then
  outcome = 'requests_exceeded'
elseif tokens_used >= tpm or tokens_used + token_cost > tpm then
  outcome = 'tokens_exceeded'
end

local function debit(key, cost)
  if cost > 0 then
    redis.call('INCRBY', key, cost)
    redis.call('EXPIRE', key, 2 * span)
  end
end

if outcome == 'admitted' then
  debit(requests_key, request_cost)
  debit(tokens_key, token_cost)
end
return {outcome, string.format('%.0f', rpm), string.format('%.0f', tpm),
        counts[1], counts[2], counts[3], counts[4], elapsed_us}
