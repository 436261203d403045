-- Charge what exchanges of one subject cost instead of what they had reserved, each charge id once (see admit.lua and admission.py).
--
-- KEYS[1] the user's record    KEYS[2] the prefix of the user's counters    KEYS[3...] the charges
-- ARGV    default requests per minute, default tokens per request, 1 for a source, else 0;
--         then of each charge: id, model, tokens, reserved, output (0: not known)
--
-- Returns how many had not been settled before.

local windows, outputs, ids, settled, refused = {}, {}, {}, 0, nil
local record, is_read

local function limit_of(field)
  if not is_read then
    record, is_read = ARGV[3] == '1' and record_of_source() or read_record(), true
  end
  if field == '' then
    return record and record.tpm or MAX_LIMIT
  end
  local override = record and override_of(record, field)
  return override and override[2]
end

local function spend_of(field, bucket, count)
  local limit = limit_of(field)
  if not limit then
    return
  end
  windows[field] = windows[field] or parse_window(redis.call('HGET', KEYS[2] .. ':tokens', field), limit)
  spend(windows[field], bucket, count, limit)
end

local counters, group_slots = {}, {}

-- The same correction wherever else the charge was booked: a group's minute, and quotas.
local function correct(charge, bucket, booked, id)
  local group, places = booked_in(charge)
  if not group then
    return
  end
  if group ~= '' then
    group_slots[#group_slots + 1] = {group_prefix(group) .. ':parallel', id}
  end
  if booked == 0 then
    return
  end
  local key = group ~= '' and group_prefix(group) .. ':tokens'
  local text = key and redis.call('HGET', key, '')
  if text then
    local rules = read_group(group)
    local limit = rules and rules.tpm or MAX_LIMIT
    local window = parse_window(text, limit)
    spend(window, counts_at(bucket, current) and bucket or current, booked, limit)
    write_down(window)
    store_window(key, '', window, limit)
  end
  for _, place in ipairs(places) do
    local name = place[1] .. '\n' .. place[2]
    counters[name] = counters[name] or parse_counter(place[1], place[2], redis.call('HGET', place[1] .. ':quotas', place[2]))
    count(counters[name], bucket * BUCKET_SECONDS, 0, booked)
  end
end

local function settle(key, id, model, tokens, reserved, output)
  local charge = redis.pcall('GET', key)
  if type(charge) == 'table' then
    refused = charge
    return
  elseif charge == 'done' or charge and string.sub(charge, 1, 4) == 'owed' then
    return
  end
  local bucket, booked, state
  local open_bucket, open_reserved = string.match(charge or '', '^open (%d+) (%d+)')
  if open_bucket then
    bucket, booked, state = tonumber(open_bucket), tokens - tonumber(open_reserved), 'done'
  else
    local owed = math.min(tokens, reserved)
    bucket, booked, state = current, tokens - owed, string.format('owed %.0f', owed)
  end
  correct(charge, bucket, booked, id)
  if booked > 0 and not counts_at(bucket, current) then
    -- The reservation counts no more: what exceeds it is spent now.
    bucket = current
  end
  if booked ~= 0 then
    spend_of('', bucket, booked)
    if model ~= '' then
      spend_of(model, bucket, booked)
    end
  end
  redis.call('SET', key, state, 'EX', SETTLED_SECONDS)
  if output > 0 then
    outputs[model] = outputs[model] or {}
    table.insert(outputs[model], math.ceil(output / (tonumber(string.match(charge or '', '^open %d+ %d+ (%d+)')) or 1)))
  end
  settled, ids[#ids + 1] = settled + 1, id
end

for i = 3, #KEYS do
  local at = 5 * (i - 3) + 4
  settle(KEYS[i], ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]))
end
for field, window in pairs(windows) do
  write_down(window)
  store_window(KEYS[2] .. ':tokens', field, window, limit_of(field))
end
for _, counter in pairs(counters) do
  write_counter(counter)
end
for _, slot in ipairs(group_slots) do
  redis.call('ZREM', slot[1], slot[2])
end
for model, lengths in pairs(outputs) do
  learn_lengths(model, lengths)
end
if #ids > 0 then
  redis.call('ZREM', KEYS[2] .. ':parallel', unpack(ids))
end
return refused or settled
