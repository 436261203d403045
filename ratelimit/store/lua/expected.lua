-- Shared: what a request is expected to cost (see expected.py, which has the formula).
--
-- KEYS[2] .. ':lengths' is a hash: model -> 'typical longest length length ...', the newest last.

-- More than ten numbers that can be exact take.
local LONGEST_LENGTHS_BYTES = 256

-- The text, or nil. Any stranger may have written there, and what cannot be read is no reason to refuse anybody.
local function known_lengths(model)
  local known = redis.pcall('HGET', KEYS[2] .. ':lengths', model)
  return type(known) == 'string' and #known <= LONGEST_LENGTHS_BYTES and string.match(known, '^%d+ %d+ [%d ]+$') or nil
end

-- Returns what must fit and what is booked.
local function expected(tokens, output, ceiling, choices, model, limit)
  if ceiling <= 0 then
    return math.min(tokens, limit), math.min(tokens, limit)
  end
  local most, half = ceiling * choices, math.floor(limit / 2)
  local typical, longest = output, nil
  local known = known_lengths(model)
  if known then
    typical, longest = string.match(known, '^(%d+) (%d+)')
    typical, longest = tonumber(typical), math.min(tonumber(longest), ceiling) * choices
  elseif most <= half then
    longest = most
  else
    longest = math.min(math.max(UNSEEN_OUTPUT * choices, math.floor(limit / SHARE_OF_UNSEEN)), most)
  end
  local share = math.floor(math.min(most, limit) / SHARE_OF_CEILING)
  local must_fit = tokens + math.min(math.min(typical, ceiling) * choices, half)
  return math.min(must_fit, limit), math.min(math.max(must_fit, tokens + math.max(longest, share)), limit)
end

local function learn_lengths(model, outputs)
  local key = KEYS[2] .. ':lengths'
  local known = known_lengths(model)
  if not known and redis.call('TYPE', key).ok ~= 'hash' then
    redis.call('DEL', key)
  end
  local last = {}
  for length in string.gmatch(known and string.match(known, '^%d+ %d+(.*)') or '', '%d+') do
    last[#last + 1] = tonumber(length)
  end
  for _, output in ipairs(outputs) do
    last[#last + 1] = output
  end
  while #last > KEPT_LENGTHS do
    table.remove(last, 1)
  end
  if not known and redis.call('HLEN', key) >= MODELS_PER_SUBJECT then
    redis.call('DEL', key)
  end
  local sorted = {unpack(last)}
  table.sort(sorted)
  local typical, longest = sorted[math.floor((#sorted - 1) / 2) + 1], sorted[#sorted]
  redis.call('HSET', key, model, string.format('%.0f %.0f %s', typical, longest, table.concat(last, ' ')))
  redis.call('EXPIRE', key, LENGTHS_SECONDS)
end
