-- Shared: what replicas may spend of a subject's limits without asking (see leases.py).
--
-- KEYS[2] .. ':leases' is a hash: id -> 'bucket requests tokens model'. A lease counts as spent in its bucket, in full, from
-- when it is given until its replica has told what became of it, or the bucket counts no more. Windows hold only what was told,
-- so that nothing is ever taken out of them.

local LEASES_SECONDS = 2 * BUCKETS * BUCKET_SECONDS
local REPORT_US = 100000

-- Puts into each scope what is leased of it. Returns the newest bucket, and how many leases there are.
local function count_leases(scopes)
  local key = KEYS[2] .. ':leases'
  local listed = redis.pcall('HGETALL', key)
  for _, scope in ipairs(scopes) do
    scope.leased_requests, scope.leased_tokens = 0, 0
  end
  if listed.err then
    redis.call('DEL', key)
    return nil, 0
  end
  local newest
  for i = 1, #listed, 2 do
    local bucket, requests, tokens, model = string.match(listed[i + 1], '^(%d+) (%d+) (%d+) (.*)$')
    bucket = tonumber(bucket)
    if bucket and counts_at(bucket, current) then
      newest = math.max(newest or bucket, bucket)
      for _, scope in ipairs(scopes) do
        if scope.field == '' or scope.field == model then
          scope.leased_requests = scope.leased_requests + math.min(tonumber(requests), MAX_COUNT)
          scope.leased_tokens = scope.leased_tokens + math.min(tonumber(tokens), MAX_COUNT)
        end
      end
    else
      redis.call('HDEL', key, listed[i])
    end
  end
  return newest, #listed / 2
end

-- When what is leased may be free again: live replicas tell as soon as the bucket is over.
local function us_until_told(newest)
  local over = (newest + 1) * BUCKET_SECONDS * 1000000 + REPORT_US
  if over <= now_us then
    over = (newest + BUCKETS) * BUCKET_SECONDS * 1000000
  end
  return math.min(over - now_us, LONGEST_WAIT_US)
end

-- A share of what is left of each scope, for the rest of this bucket; '' where that is not worth it.
-- Returns 'requests tokens bucket us'.
local function give_lease(id, wished, parts, scopes, model, cost)
  local requests, tokens = wished, wished * cost
  for _, scope in ipairs(scopes) do
    requests = math.min(requests, math.floor((scope.rpm - scope.requests.used - scope.leased_requests) / parts))
    tokens = math.min(tokens, math.floor((scope.tpm - scope.tokens.used - scope.leased_tokens) / parts))
  end
  if requests < LEAST_LEASED or tokens < LEAST_LEASED * cost then
    return ''
  end
  redis.call('HSET', KEYS[2] .. ':leases', id, string.format('%d %.0f %.0f %s', current, requests, tokens, model))
  redis.call('EXPIRE', KEYS[2] .. ':leases', LEASES_SECONDS)
  local left = (current + 1) * BUCKET_SECONDS * 1000000 - now_us
  return string.format('%.0f %.0f %d %.0f', requests, tokens, current, left)
end
