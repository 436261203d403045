-- Admit one request: read the record, check every scope, debit all or nothing. admission.py has the rule, spending.py the
-- states of a charge: here 'open <bucket> <reserved>' (and ' <choices>', of more than one), 'owed <tokens>' (settled first), 'done', 'ended'.
--
-- KEYS[1] the user's record      KEYS[2] the prefix of its counters    KEYS[3] the charge
-- KEYS[4] the model's rate, only where it may be reached from here
-- ARGV    default requests per minute, default tokens per request, charge id, model, tokens, model requests per second,
--         what else may stand for the model in an allow list: a line each, with one before the first; or nothing;
--         1 for a source, which has no record: the defaults are its limits, else 0;
--         likely output, most output and choices (see expected.lua);
--         when periods of the calendar begin and end (tenancy.lua);
--         where a lease is wished: its id, how many requests, and of how many parts of what is left it may be one (leases.lua)
--
-- Returns {outcome}, or {outcome, rpm, tpm, max parallel, requests used, tokens used, wait us, reserved, requests reset us,
-- tokens reset us, lease, quotas} and the windows (heard.lua). Quotas are as in tenancy.lua, '' where none hold. A lease is '', or 'requests tokens bucket us', the tokens that the limit
-- allows, and what is known of lengths. Limits are text: they may exceed what a Lua number holds exactly.

local record, answer
if ARGV[8] == '1' then
  record = record_of_source()
else
  record, answer = read_record()
end
if not record then
  return answer
end
local charge_id, model, wanted, model_limit = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local other_names = ARGV[7]

local function allows(models)
  for _, name in ipairs(models) do
    if name == model or string.find(other_names, '\n' .. name .. '\n', 1, true) then
      return true
    end
  end
  return #models == 0 or model == ''
end

if record.disabled then
  return {'disabled'}
elseif not allows(record.models) then
  return {'model_not_allowed'}
end
local tenancy = read_tenancy(record, ARGV[12])
if tenancy and tenancy.rules then
  if tenancy.rules.disabled then
    return {'disabled'}
  elseif not allows(tenancy.rules.models) then
    return {'model_not_allowed'}
  end
end

local requests_key, tokens_key, slots_key = KEYS[2] .. ':requests', KEYS[2] .. ':tokens', KEYS[2] .. ':parallel'
local override = override_of(record, model)
local fields = override and {'', model} or {''}
local limits = {{record.rpm, record.tpm}, override}
local scopes = {}
local requests = redis.call('HMGET', requests_key, unpack(fields))
local tokens = redis.call('HMGET', tokens_key, unpack(fields))
for i, field in ipairs(fields) do
  scopes[i] = {
    prefix = KEYS[2], field = field, rpm = limits[i][1], tpm = limits[i][2],
    requests = parse_window(requests[i], limits[i][1]), tokens = parse_window(tokens[i], limits[i][2]),
  }
end

local newest_lease, leases = count_leases(scopes)
local own_scopes = {unpack(scopes)}
if tenancy then
  tenancy_scopes(tenancy, scopes)
end

-- The scope with the least left tells about each kind.
local function tightest(kind, limit, leased)
  local best = scopes[1]
  for _, scope in ipairs(scopes) do
    if scope[limit] - scope[kind].used - scope[leased] < best[limit] - best[kind].used - best[leased] then
      best = scope
    end
  end
  return string.format('%.0f', best[limit]), best[kind].used + best[leased], us_until_empty(best[kind], best[limit])
end

local function told(outcome, wait_us, reserved, lease, quota, kind)
  local rpm, requests_used, requests_reset = tightest('requests', 'rpm', 'leased_requests')
  local tpm, tokens_used, tokens_reset = tightest('tokens', 'tpm', 'leased_tokens')
  return with_windows({outcome, rpm, tpm, string.format('%.0f', record.max_parallel), requests_used, tokens_used,
                       wait_us, reserved, requests_reset, tokens_reset, lease or '',
                       tenancy and told_quotas(tenancy, quota, kind) or ''}, own_scopes)
end

local charge = redis.call('GET', KEYS[3])
if charge == 'done' then
  return told('admitted', 0, 0)
elseif charge and string.sub(charge, 1, 4) == 'open' then
  return told('admitted', 0, tonumber(string.match(charge, '^open %d+ (%d+)')))
end

local owed = charge and string.match(charge, '^owed (%d+)$')
local choices = tonumber(ARGV[11])
local limit = scopes[1].tpm
for _, scope in ipairs(scopes) do
  limit = math.min(limit, scope.tpm)
end
local needed, reservation
if owed then
  needed, reservation = expected(tonumber(owed), 0, 0, 1, model, limit)
else
  needed, reservation = expected(wanted, tonumber(ARGV[9]), tonumber(ARGV[10]), choices, model, limit)
end
needed = math.max(needed, 1)

-- Where a slot is to be taken, and of how many.
local slots = {}
if not charge then
  if record.max_parallel > 0 then
    slots[1] = {slots_key, record.max_parallel}
  end
  if tenancy and tenancy.rules and tenancy.rules.max_parallel > 0 then
    slots[#slots + 1] = {group_prefix(tenancy.group) .. ':parallel', tenancy.rules.max_parallel}
  end
end
local is_full = false
for _, slot in ipairs(slots) do
  is_full = is_full or redis.call('ZCOUNT', slot[1], string.format('(%.0f', now_us), '+inf') >= slot[2]
end
local model_us = KEYS[4] and model_limit > 0 and model_wait_us(KEYS[4], model_limit, KEYS[3]) or 0

local function judge()
  for _, scope in ipairs(scopes) do
    if not fits(scope.requests, 1 + scope.leased_requests, scope.rpm) then
      return 'requests_exceeded'
    end
  end
  for _, scope in ipairs(scopes) do
    if not fits(scope.tokens, needed + scope.leased_tokens, scope.tpm) then
      return 'tokens_exceeded'
    end
  end
  return is_full and 'parallel_exceeded' or model_us > 0 and 'model_rate_exceeded' or 'admitted'
end

local outcome = judge()
local quota, kind
if tenancy then
  quota, kind = exhausted_quota(tenancy, needed)
end
if quota then
  return told('quota_exceeded', quota.over * 1000000 - now_us, 0, '', quota, kind)
end
if outcome ~= 'admitted' then
  local wait = math.max(model_us, is_full and 1000000 or 0)
  for _, scope in ipairs(scopes) do
    wait = math.max(wait, us_until_fits(scope.requests, 1, scope.rpm), us_until_fits(scope.tokens, needed, scope.tpm))
  end
  if wait == 0 and newest_lease then
    wait = us_until_told(newest_lease)
  end
  return told(outcome, wait, 0)
end

for _, scope in ipairs(scopes) do
  if scope.rpm < MAX_LIMIT or scope.prefix == KEYS[2] then
    book(scope.prefix .. ':requests', scope.field, scope.requests, current, 1, MAX_LIMIT)
  end
  if reservation > 0 and (scope.tpm < MAX_LIMIT or scope.prefix == KEYS[2]) then
    book(scope.prefix .. ':tokens', scope.field, scope.tokens, current, reservation, scope.tpm)
  end
end
for _, slot in ipairs(slots) do
  redis.call('ZREMRANGEBYSCORE', slot[1], '-inf', string.format('%.0f', now_us))
  redis.call('ZADD', slot[1], string.format('%.0f', now_us + PARALLEL_SECONDS * 1000000), charge_id)
  redis.call('EXPIRE', slot[1], PARALLEL_SECONDS)
end
if tenancy then
  book_quotas(tenancy, current * BUCKET_SECONDS, reservation)
end
if KEYS[4] and model_limit > 0 then
  model_admit(KEYS[4], KEYS[3])
end
if owed then
  redis.call('SET', KEYS[3], 'done', 'EX', SETTLED_SECONDS)
else
  local state = string.format('open %d %.0f', current, reservation) .. (choices > 1 and ' ' .. ARGV[11] or '')
  state = state .. charge_suffix(tenancy)
  redis.call('SET', KEYS[3], state, 'EX', RESERVATION_SECONDS)
end
local wished, lease = tonumber(ARGV[14]), ''
if wished and not tenancy and record.max_parallel == 0 and model_limit == 0 and leases < MAX_REPLICAS then
  lease = give_lease(ARGV[13], wished, tonumber(ARGV[15]), scopes, model, math.max(reservation, 1))
  if lease ~= '' then
    lease = lease .. string.format(' %.0f ', limit) .. (known_lengths(model) or '')
  end
end
return told('admitted', 0, reservation, lease)
