-- Book what a replica admitted under a lease, in the bucket of the lease, and end it; each charge once (see admit.lua for
-- their states). Nothing more is counted than the lease had room for, so nothing is judged here.
--
-- KEYS[1] the user's record      KEYS[2] the prefix of its counters    KEYS[3...] the charges
-- ARGV    default requests per minute, default tokens per request, id of the lease, model, bucket, 1 for a source, else 0;
--         then of each charge what was reserved, and its choices
--
-- Returns {outcome}, or {'admitted', max parallel} and the windows (heard.lua).

redis.pcall('HDEL', KEYS[2] .. ':leases', ARGV[3])
local record, answer
if ARGV[6] == '1' then
  record = record_of_source()
else
  record, answer = read_record()
end
if not record then
  return answer
end
local model, bucket = ARGV[4], tonumber(ARGV[5])
local override = override_of(record, model)
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

local requests, tokens = 0, 0
for i = 3, #KEYS do
  local charge = redis.call('GET', KEYS[i])
  local owed = charge and string.match(charge, '^owed (%d+)$')
  if owed or not charge or charge == 'ended' then
    local reserved, choices = owed or ARGV[2 * i + 1], ARGV[2 * i + 2]
    requests, tokens = requests + 1, tokens + tonumber(reserved)
    if owed then
      redis.call('SET', KEYS[i], 'done', 'EX', SETTLED_SECONDS)
    else
      local state = string.format('open %d %.0f', bucket, tonumber(reserved))
      redis.call('SET', KEYS[i], state .. (choices == '1' and '' or ' ' .. choices), 'EX', RESERVATION_SECONDS)
    end
  end
end
if requests > 0 and counts_at(bucket, current) then
  for _, scope in ipairs(scopes) do
    book(KEYS[2] .. ':requests', scope.field, scope.requests, bucket, requests, MAX_LIMIT)
    if tokens > 0 then
      book(KEYS[2] .. ':tokens', scope.field, scope.tokens, bucket, tokens, scope.tpm)
    end
  end
end
return with_windows({'admitted', string.format('%.0f', record.max_parallel)}, scopes)
