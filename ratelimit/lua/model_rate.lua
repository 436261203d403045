-- Shared: a model's requests of the last second, a sorted set of charges by time; at most as many as its limit.

-- Microseconds until another request fits; 0 when one fits now, or when this charge is among them.
local function model_wait_us(key, limit, charge)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now_us - 1000000))
  local count = redis.call('ZCARD', key)
  if count < limit or redis.call('ZSCORE', key, charge) then
    return 0
  end
  local first = redis.call('ZRANGE', key, count - limit, count - limit, 'WITHSCORES')
  return tonumber(first[2]) + 1000000 - now_us
end

local function model_admit(key, charge)
  redis.call('ZADD', key, 'NX', string.format('%.0f', now_us), charge)
  redis.call('EXPIRE', key, 60)
end
