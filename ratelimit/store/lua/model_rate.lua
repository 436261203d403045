-- Shared: a model's requests of the last second, a sorted set of charges by time; at most as many as its limit.

-- Microseconds until another request fits; 0 when one fits now, or when this charge is among them. A second at most, also
-- after the clock was set back. A key of another type is a stranger's, and no fault of whoever asks.
local function model_wait_us(key, limit, charge)
  local removed = redis.pcall('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now_us - 1000000))
  if type(removed) == 'table' then
    redis.call('DEL', key)
    return 0
  end
  local count = redis.call('ZCARD', key)
  if count < limit or redis.call('ZSCORE', key, charge) then
    return 0
  end
  local first = redis.call('ZRANGE', key, count - limit, count - limit, 'WITHSCORES')
  return math.min(tonumber(first[2]) + 1000000 - now_us, 1000000)
end

local function model_admit(key, charge)
  redis.call('ZADD', key, 'NX', string.format('%.0f', now_us), charge)
  redis.call('EXPIRE', key, 60)
end
