-- Shared: the clock, and what was spent in the last minute (see window.py, which has the formula).
--
-- scripts.py puts the constants in front: BUCKET_SECONDS, BUCKETS, RESERVATION_SECONDS, SETTLED_SECONDS, PARALLEL_SECONDS,
-- MAX_KEYS. A user's counters are one hash per kind; its fields are '' (all models) and the models with limits of their
-- own; a value lists buckets as 'bucket:count bucket:count'. KEYS[2] is what their keys begin with, in the record's slot.

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local current = math.floor(time[1] / BUCKET_SECONDS)

local function counts_at(bucket)
  return bucket > current - BUCKETS and bucket <= current + BUCKETS
end

local function parse_window(text)
  local window = {used = 0, counts = {}, text = text or ''}
  for bucket, count in string.gmatch(text or '', '(%d+):(%d+)') do
    bucket, count = tonumber(bucket), tonumber(count)
    if counts_at(bucket) then
      window.counts[bucket] = count
      window.used = window.used + count
    end
  end
  return window
end

-- Spends, or gives back when negative, at most what the bucket holds.
local function book(key, field, window, bucket, count)
  local before = window.counts[bucket] or 0
  local after = math.max(0, before + count)
  window.used = window.used + after - before
  window.counts[bucket] = after > 0 and after or nil
  local parts = {}
  for at, value in pairs(window.counts) do
    parts[#parts + 1] = string.format('%d:%.0f', at, value)
  end
  window.text = table.concat(parts, ' ')
  redis.call('HSET', key, field, window.text)
  redis.call('EXPIRE', key, 2 * BUCKETS * BUCKET_SECONDS)
end

local function end_us(bucket)
  return (bucket + BUCKETS) * BUCKET_SECONDS * 1000000 - now_us
end

local function us_until_fits(window, cost, limit)
  local excess = window.used + math.min(cost, limit) - limit
  local buckets, wait = {}, 0
  for bucket in pairs(window.counts) do
    buckets[#buckets + 1] = bucket
  end
  table.sort(buckets)
  for _, bucket in ipairs(buckets) do
    if excess <= 0 then
      break
    end
    excess = excess - window.counts[bucket]
    wait = end_us(bucket)
  end
  return wait
end

local function us_until_empty(window)
  local newest
  for bucket in pairs(window.counts) do
    newest = math.max(newest or bucket, bucket)
  end
  return newest and end_us(newest) or 0
end
