-- Book a request that a replica admitted while this server was away, once per charge id, whatever the limits say now.
-- The states of a charge are those of admit.lua.
--
-- KEYS[1] the user's record      KEYS[2] the prefix of its counters    KEYS[3] the charge
-- ARGV    default requests per minute, default tokens per request, charge id, model, tokens reserved, microseconds since
--         it was admitted, choices, periods as in admit.lua; 1 for a source
--
-- Returns {outcome}, or {'admitted', max parallel} and the windows (heard.lua).

local record, answer
if ARGV[9] then
  record = record_of_source()
else
  record, answer = read_record()
end
if not record then
  return answer
end
local model, override = ARGV[4], override_of(record, ARGV[4])
local fields = override and {'', model} or {''}
local limits = {{record.rpm, record.tpm}, override}
local scopes = {}
for i, field in ipairs(fields) do
  scopes[i] = {
    field = field, rpm = limits[i][1], tpm = limits[i][2],
    requests = parse_window(redis.call('HGET', KEYS[2] .. ':requests', field), limits[i][1]),
    tokens = parse_window(redis.call('HGET', KEYS[2] .. ':tokens', field), limits[i][2]),
  }
end

local tenancy = not ARGV[9] and read_tenancy(record, ARGV[8]) or nil
local charge = redis.call('GET', KEYS[3])
local owed = charge and string.match(charge, '^owed (%d+)$')
if charge ~= 'done' and not (charge and string.sub(charge, 1, 4) == 'open') then
  local bucket, reserved = math.floor((now_us - tonumber(ARGV[6])) / 1000000 / BUCKET_SECONDS), tonumber(owed or ARGV[5])
  if counts_at(bucket, current) then
    for _, scope in ipairs(scopes) do
      book(KEYS[2] .. ':requests', scope.field, scope.requests, bucket, 1, MAX_LIMIT)
      if reserved > 0 then
        book(KEYS[2] .. ':tokens', scope.field, scope.tokens, bucket, reserved, scope.tpm)
      end
    end
  end
  if tenancy then
    local extra = {}
    tenancy_scopes(tenancy, extra)
    for _, scope in ipairs(counts_at(bucket, current) and extra or {}) do
      book(scope.prefix .. ':requests', scope.field, scope.requests, bucket, 1, MAX_LIMIT)
      if reserved > 0 then
        book(scope.prefix .. ':tokens', scope.field, scope.tokens, bucket, reserved, scope.tpm)
      end
    end
    book_quotas(tenancy, bucket * BUCKET_SECONDS, reserved)
  end
  if record.max_parallel > 0 and not charge then
    redis.call('ZADD', KEYS[2] .. ':parallel', string.format('%.0f', now_us + PARALLEL_SECONDS * 1000000), ARGV[3])
    redis.call('EXPIRE', KEYS[2] .. ':parallel', PARALLEL_SECONDS)
  end
  if owed then
    redis.call('SET', KEYS[3], 'done', 'EX', SETTLED_SECONDS)
  else
    local choices = tonumber(ARGV[7]) > 1 and ' ' .. ARGV[7] or ''
    local state = string.format('open %d %.0f', bucket, reserved) .. choices .. charge_suffix(tenancy)
    redis.call('SET', KEYS[3], state, 'EX', RESERVATION_SECONDS)
  end
end
return with_windows({'admitted', string.format('%.0f', record.max_parallel)}, scopes)
