-- Charge what an exchange cost instead of what it had reserved, once per charge id (see admit.lua and charges.py).
--
-- KEYS[1] the user's record    KEYS[2] the prefix of the user's counters    KEYS[3] the charge
-- ARGV    default requests per minute, default tokens per request, charge id, model, tokens, reserved
--
-- Returns 1, or 0 when the charge had been settled before.

local charge_id, model, tokens, reserved = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local charge = redis.call('GET', KEYS[3])
if charge == 'done' or charge and string.sub(charge, 1, 4) == 'owed' then
  return 0
end

local bucket, booked, state
local open_bucket, open_reserved = string.match(charge or '', '^open (%d+) (%d+)$')
if open_bucket then
  bucket, booked, state = tonumber(open_bucket), tokens - tonumber(open_reserved), 'done'
else
  local owed = math.min(tokens, reserved)
  bucket, booked, state = current, tokens - owed, string.format('owed %.0f', owed)
end
if not counts_at(bucket) then
  -- The reservation counts no more: there is nothing to give back, and more than that is spent now.
  bucket, booked = current, math.max(booked, 0)
end

local function fields()
  local record = model ~= '' and read_record()
  return record and override_of(record, model) and {'', model} or {''}
end

if booked ~= 0 then
  local key = KEYS[2] .. ':tokens'
  for _, field in ipairs(fields()) do
    book(key, field, parse_window(redis.call('HGET', key, field)), bucket, booked)
  end
end
redis.call('SET', KEYS[3], state, 'EX', SETTLED_SECONDS)
redis.call('ZREM', KEYS[2] .. ':parallel', charge_id)
return 1
