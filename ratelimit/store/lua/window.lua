-- Shared: the clock, and what was spent in the last minute (see window.py, which has the formula).
--
-- scripts.py puts the constants in front: BUCKET_SECONDS, BUCKETS, EARLY_BUCKETS, LONGEST_DEBT_WINDOWS,
-- RESERVATION_SECONDS, SETTLED_SECONDS, PARALLEL_SECONDS, MAX_KEYS and those of expected.py. A user's counters are one hash per kind; its fields are '' (all
-- models) and the models with limits of their own; a value lists buckets as 'bucket:count bucket:count', after
-- '=bucket/debt ' where something is owed: at that bucket it was. KEYS[2] is what their keys begin with, in the
-- record's slot. Any stranger may have written there: a longer text than is ever written here counts for nothing, a
-- count for at most what a number holds exactly, and a bucket that cannot count is passed over; so every loop is short.

local LONGEST_WAIT_US = 59000000
local LONGEST_TEXT_BYTES, MAX_COUNT = 8192, 2 ^ 53

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local current = math.floor(time[1] / BUCKET_SECONDS)

local function counts_at(bucket, at)
  return bucket > at - BUCKETS and bucket <= at + BUCKETS
end

-- Debt of more windows than these is forgiven, so that nobody pays for ever.
local function longest_debt(limit)
  return math.max(limit, 1) * LONGEST_DEBT_WINDOWS
end

-- Debt moves into the buckets between `at` and `to`, each as it comes. `counts`: only those that count at `at`, so that
-- two windows of single steps are the most there can be before and after whole windows. Returns what is left, and the
-- counts.
local function pay(counts, debt, at, to, limit)
  debt, limit = math.min(debt, longest_debt(limit)), math.max(limit, 1)
  local used, newest = 0, at
  for bucket, count in pairs(counts) do
    used, newest = used + count, math.max(newest, bucket)
  end
  while debt > 0 and at < to do
    local windows = math.min(math.floor((to - at) / BUCKETS), math.floor(debt / limit))
    if windows > 0 and used <= limit and newest <= at then
      -- In a whole window exactly the limit is paid, in the places of what was there before.
      local later = {}
      for bucket, count in pairs(counts) do
        later[bucket + BUCKETS * windows] = count
      end
      counts, debt, at = later, debt - limit * windows, at + BUCKETS * windows
    else
      at = at + 1
      used = used - (counts[at - BUCKETS] or 0)
      local moved = math.min(debt, math.max(0, limit - used))
      if moved > 0 then
        counts[at] = (counts[at] or 0) + moved
        debt, used = debt - moved, used + moved
      end
    end
  end
  return debt, counts
end

local function window_of_counts(counts, debt, text)
  local window = {used = debt, early = 0, debt = debt, counts = {}, text = text}
  for bucket, count in pairs(counts) do
    if counts_at(bucket, current) then
      window.counts[bucket], window.used = count, window.used + count
      window.early = window.early + (bucket <= current - EARLY_BUCKETS and count or 0)
    end
  end
  return window
end

-- Those that count at `at`.
local function read_counts(text, at)
  local counts = {}
  for bucket, count in string.gmatch(text, '(%d+):(%d+)') do
    bucket = tonumber(bucket)
    if counts_at(bucket, at) then
      counts[bucket] = math.min(tonumber(count), MAX_COUNT)
    end
  end
  return counts
end

local function parse_debt(text, limit)
  local at, debt = string.match(text, '^=(%d+)/(%d+)')
  at, debt = math.min(tonumber(at) or 0, current), math.min(tonumber(debt) or 0, MAX_COUNT)
  if not limit then
    return window_of_counts(read_counts(text, current), debt, text)
  end
  local left, counts = pay(read_counts(text, at), debt, at, current, limit)
  return window_of_counts(counts, left, text)
end

-- `limit`: what debt is paid by; nil: none is paid. Most windows are only summed up: their counts are read when somebody asks (counts_of).
-- In one that is `sorted` the first and last entries that count are at `from` and `last_at` of the text.
local function parse_window(text, limit)
  text = text and #text <= LONGEST_TEXT_BYTES and text or ''
  if string.byte(text) == 61 then
    return parse_debt(text, limit)
  end
  local used, early, oldest, going = 0, 0, current - BUCKETS, current - EARLY_BUCKETS
  local from, last, last_at, last_count
  for at, bucket, count in string.gmatch(text, '()(%d+):(%d+)') do
    bucket, count = tonumber(bucket), tonumber(count)
    if bucket > current or bucket <= (last or 0) or count > MAX_COUNT then
      return window_of_counts(read_counts(text, current), 0, text)
    elseif bucket > oldest then
      used = used + count
      if bucket <= going then
        early = early + count
      end
      from, last, last_at, last_count = from or at, bucket, at, count
    end
  end
  return {used = used, early = early, debt = 0, text = text, sorted = true,
          from = from, last = last, last_at = last_at, last_count = last_count}
end

local function counts_of(window)
  if not window.counts then
    window.counts = window_of_counts(read_counts(window.text, current), 0).counts
  end
  return window.counts
end

local function put(window, bucket, count)
  local after = (window.counts[bucket] or 0) + count
  window.used = window.used + count
  window.counts[bucket] = after > 0 and after or nil
end

-- Spends, beyond the limit as debt; or gives back when negative, at most what is owed and the bucket holds.
local function spend(window, bucket, count, limit)
  counts_of(window)
  if count >= 0 then
    local fits = math.min(count, math.max(0, limit - window.used + window.debt))
    put(window, bucket, fits)
    local owed = math.min(window.debt + count - fits, math.max(window.debt, longest_debt(limit)))
    window.debt, window.used = owed, window.used + owed - window.debt
    return
  end
  local paid = math.min(window.debt, -count)
  window.debt, window.used = window.debt - paid, window.used - paid
  put(window, bucket, math.max(count + paid, -(window.counts[bucket] or 0)))
  if window.debt > 0 then
    local moved = math.min(window.debt, math.max(0, limit - window.used + window.debt))
    window.debt, window.used = window.debt - moved, window.used - moved
    put(window, current, moved)
  end
end

-- The usual case of `spend`: only the last entry of the text changes.
local function spend_now(window, count)
  local head, sum = '', count
  if window.last == current then
    head, sum = string.sub(window.text, window.from, window.last_at - 1), window.last_count + count
  elseif window.last then
    head = string.sub(window.text, window.from) .. ' '
  end
  window.text, window.used, window.counts = head .. string.format('%d:%.0f', current, sum), window.used + count, nil
  window.from, window.last, window.last_at, window.last_count = 1, current, #head + 1, sum
end

local function write_down(window)
  local buckets, parts = {}, {}
  if window.debt > 0 then
    parts[1] = string.format('=%d/%.0f', current, window.debt)
  end
  for at in pairs(window.counts) do
    buckets[#buckets + 1] = at
  end
  table.sort(buckets)
  for _, at in ipairs(buckets) do
    parts[#parts + 1] = string.format('%d:%.0f', at, window.counts[at])
  end
  window.text, window.sorted = table.concat(parts, ' '), false
end

local function store_window(key, field, window, limit)
  local seconds = 2 * BUCKETS * BUCKET_SECONDS
  if window.debt > 0 then
    seconds = seconds + math.ceil(window.debt / math.max(limit, 1)) * BUCKETS * BUCKET_SECONDS
  end
  redis.call('HSET', key, field, window.text)
  -- Another field may owe for longer.
  redis.call('EXPIRE', key, math.max(seconds, redis.call('TTL', key)))
end

-- As `spend`, and writes it down.
local function book(key, field, window, bucket, count, limit)
  if window.sorted and bucket == current and count > 0 and window.used + count <= limit then
    spend_now(window, count)
  else
    spend(window, bucket, count, limit)
    write_down(window)
  end
  store_window(key, field, window, limit)
end

local function fits(window, cost, limit)
  return window.used + cost <= limit or window.used <= limit and window.used - window.early + cost <= limit
end

-- When so much has left the last `size` buckets.
local function end_us(window, excess, size)
  if excess <= 0 then
    return 0
  end
  local buckets, last = {}, 0
  for bucket in pairs(counts_of(window)) do
    if bucket > current - size then
      buckets[#buckets + 1] = bucket
    end
  end
  table.sort(buckets)
  for _, bucket in ipairs(buckets) do
    excess, last = excess - window.counts[bucket], bucket + size
    if excess <= 0 then
      break
    end
  end
  return last * BUCKET_SECONDS * 1000000
end

local function us_until_paid(window, cost, limit)
  local counts, debt, used = {}, window.debt, window.used - window.debt
  for bucket, count in pairs(window.counts) do
    counts[bucket] = count
  end
  for at = current + 1, current + EARLY_BUCKETS do
    used = used - (counts[at - BUCKETS] or 0)
    local moved = math.min(debt, math.max(0, limit - used))
    counts[at] = (counts[at] or 0) + moved
    debt, used = debt - moved, used + moved
    local ahead = {used = used + debt, early = (counts[at - EARLY_BUCKETS] or 0) + (counts[at - EARLY_BUCKETS - 1] or 0)}
    if fits(ahead, cost, limit) then
      return at * BUCKET_SECONDS * 1000000 - now_us
    end
  end
  return LONGEST_WAIT_US
end

local function us_until_fits(window, cost, limit)
  cost = math.min(cost, limit)
  if fits(window, cost, limit) then
    return 0
  elseif window.debt > 0 then
    return us_until_paid(window, cost, limit)
  end
  local late = end_us(window, window.used - limit, BUCKETS)
  local early = end_us(window, window.used - window.early + cost - limit, EARLY_BUCKETS)
  return math.min(math.max(late, early) - now_us, LONGEST_WAIT_US)
end

local function us_until_empty(window, limit)
  if window.used == 0 then
    return 0
  end
  local newest = window.sorted and window.last
  for bucket in pairs(newest and {} or counts_of(window)) do
    newest = math.max(newest or bucket, bucket)
  end
  local minutes = math.ceil(window.debt / math.max(limit, 1))
  return ((newest or current) + BUCKETS * (1 + minutes)) * BUCKET_SECONDS * 1000000 - now_us
end
