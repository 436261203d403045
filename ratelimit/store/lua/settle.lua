-- Charge what an exchange cost instead of what it had reserved, once per charge id (see admit.lua and charges.py).
--
-- KEYS[1] the user's record    KEYS[2] the prefix of the user's counters    KEYS[3] the charge
-- ARGV    default requests per minute, default tokens per request, charge id, model, tokens, reserved,
--         1 for a source, else 0; output, 0: not known
--
-- Returns 1, or 0 when the charge had been settled before.

local charge_id, model, tokens, reserved = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local charge = redis.call('GET', KEYS[3])
if charge == 'done' or charge and string.sub(charge, 1, 4) == 'owed' then
  return 0
end

local bucket, booked, state
local open_bucket, open_reserved = string.match(charge or '', '^open (%d+) (%d+)')
if open_bucket then
  bucket, booked, state = tonumber(open_bucket), tokens - tonumber(open_reserved), 'done'
else
  local owed = math.min(tokens, reserved)
  bucket, booked, state = current, tokens - owed, string.format('owed %.0f', owed)
end
if booked > 0 and not counts_at(bucket, current) then
  -- The reservation counts no more: what exceeds it is spent now.
  bucket = current
end

if booked ~= 0 then
  local record = ARGV[7] == '1' and record_of_source() or read_record()
  local override = record and override_of(record, model)
  local limits = {[model] = override and override[2]}
  limits[''] = record and record.tpm or MAX_LIMIT
  local key = KEYS[2] .. ':tokens'
  for field, limit in pairs(limits) do
    book(key, field, parse_window(redis.call('HGET', key, field), limit), bucket, booked, limit)
  end
end
redis.call('SET', KEYS[3], state, 'EX', SETTLED_SECONDS)
local output = tonumber(ARGV[8])
if output > 0 then
  learn_length(model, math.ceil(output / (tonumber(string.match(charge or '', '^open %d+ %d+ (%d+)$')) or 1)))
end
redis.call('ZREM', KEYS[2] .. ':parallel', charge_id)
return 1
