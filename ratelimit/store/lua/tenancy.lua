-- Shared: groups, and quotas of a calendar (quotas.py has the rule).
--
-- A group's record is at gateway-groups/<name>, its counters are named like a user's. Its name is in the user's record, so
-- its keys cannot be told beforehand: groups need a server that is no cluster. <prefix>:quotas is a hash: period -> of this
-- period and the last each its start, requests and tokens. A charge that was booked there too ends with two lines: the group,
-- and in which counters: 'ud gm' is the user's day and the group's month.

local QUOTA_SECONDS = 6000000
local PERIODS = {'hour', 'day', 'month'}

local function are_quotas(quotas)
  return type(quotas) == 'table' and are_overrides(quotas)
end

local function parse_rules(raw)
  local decoded, rules = pcall(cjson.decode, raw or '')
  if not decoded or type(rules) ~= 'table' then
    return nil
  end
  rules.rpm, rules.tpm, rules.max_parallel = limit(rules.rpm), limit(rules.tpm), limit(rules.max_parallel)
  rules.models, rules.quotas = rules.models or {}, rules.quotas or {}
  if not rules.rpm or not rules.tpm or not rules.max_parallel or type(rules.disabled or false) ~= 'boolean'
      or type(rules.models) ~= 'table' or not are_names(rules.models) or not are_quotas(rules.quotas) then
    return nil
  end
  rules.rpm = rules.rpm > 0 and rules.rpm or MAX_LIMIT
  rules.tpm = rules.tpm > 0 and rules.tpm or MAX_LIMIT
  return rules
end

local function group_prefix(name)
  return 'gateway:{gateway-groups/' .. name .. '}'
end

local function read_group(name)
  local raw = redis.pcall('GET', 'gateway-groups/' .. name)
  return type(raw) == 'string' and parse_rules(raw) or nil
end

-- Start and end of a period at this server's time; `text` has three numbers for each (periods.py); nil: it says nothing.
local NINE_NUMBERS = '^' .. string.rep('(%d+) ', 8) .. '(%d+)' .. '$'
local FIRST_NUMBER = {hour = 1, day = 4, month = 7}

local function span_of(text, period)
  local at = FIRST_NUMBER[period]
  local start, over, next_over = select(at, string.match(text, NINE_NUMBERS))
  if not next_over then
    return nil
  end
  start, over = tonumber(start), tonumber(over)
  if now_us < over * 1000000 then
    return start, over
  end
  return over, tonumber(next_over)
end

-- `start`: when the period of now began; nil: nothing begins.
local function parse_counter(prefix, field, text, start)
  local at, requests, tokens, last_at, last_requests, last_tokens =
    string.match(type(text) == 'string' and text or '', '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  local counter = {
    prefix = prefix, field = field, start = tonumber(at) or 0, requests = tonumber(requests) or 0,
    tokens = tonumber(tokens) or 0, last_start = tonumber(last_at) or 0,
    last_requests = tonumber(last_requests) or 0, last_tokens = tonumber(last_tokens) or 0,
  }
  if start and start > counter.start then
    counter.last_start, counter.last_requests, counter.last_tokens = counter.start, counter.requests, counter.tokens
    counter.start, counter.requests, counter.tokens, counter.is_new = start, 0, 0, true
  end
  return counter
end

-- `at`: the second that it belongs to.
local function count(counter, at, requests, tokens)
  if at >= counter.start then
    counter.requests = math.max(0, counter.requests + requests)
    counter.tokens = math.max(0, counter.tokens + tokens)
  elseif at >= counter.last_start then
    counter.last_requests = math.max(0, counter.last_requests + requests)
    counter.last_tokens = math.max(0, counter.last_tokens + tokens)
  end
end

local function write_counter(counter)
  local key = counter.prefix .. ':quotas'
  redis.call('HSET', key, counter.field, string.format('%d %.0f %.0f %d %.0f %.0f', counter.start, counter.requests,
    counter.tokens, counter.last_start, counter.last_requests, counter.last_tokens))
  -- Longer than a month and what is settled after it: once a period is often enough.
  if counter.is_new then
    redis.call('EXPIRE', key, QUOTA_SECONDS)
  end
end

-- The counters of those periods for which there is a quota.
local function read_quotas(who, prefix, quotas, spans_text, into)
  for _, period in ipairs(PERIODS) do
    local quota = quotas[period]
    local start, over = nil, nil
    if quota then
      start, over = span_of(spans_text, period)
    end
    if start then
      local counter = parse_counter(prefix, period, redis.call('HGET', prefix .. ':quotas', period), start)
      counter.who, counter.period, counter.over = who, period, over
      counter.requests_limit, counter.tokens_limit = quota[1], quota[2]
      into[#into + 1] = counter
    end
  end
end

-- What holds beside the user's own limits, or nil: most have nothing of the kind.
local function read_tenancy(record, spans_text)
  local group = type(record.group) == 'string' and record.group ~= '' and record.group or nil
  if not group and not next(record.quotas or {}) then
    return nil
  end
  local group_rules = group and read_group(group)
  local tenancy = {group = group_rules and group or '', rules = group_rules, counters = {}}
  read_quotas('user', KEYS[2], record.quotas or {}, spans_text, tenancy.counters)
  if group_rules then
    read_quotas('group', group_prefix(group), group_rules.quotas, spans_text, tenancy.counters)
  end
  return tenancy
end

-- The group's last minute, in the form of the user's own.
local function tenancy_scopes(tenancy, scopes)
  local rules = tenancy.rules
  if not rules or rules.rpm == MAX_LIMIT and rules.tpm == MAX_LIMIT then
    return
  end
  local prefix = group_prefix(tenancy.group)
  scopes[#scopes + 1] = {
    prefix = prefix, field = '', rpm = rules.rpm, tpm = rules.tpm,
    requests = parse_window(rules.rpm < MAX_LIMIT and redis.call('HGET', prefix .. ':requests', '') or nil, rules.rpm),
    tokens = parse_window(rules.tpm < MAX_LIMIT and redis.call('HGET', prefix .. ':tokens', '') or nil, rules.tpm),
    leased_requests = 0, leased_tokens = 0,
  }
end

-- The counter without room that returns last, and of what; nil: there is room.
local function exhausted_quota(tenancy, needed)
  local found, kind
  for _, counter in ipairs(tenancy.counters) do
    local requests, tokens = counter.requests_limit, counter.tokens_limit
    local short = requests > 0 and counter.requests + 1 > requests and 'requests'
      or tokens > 0 and counter.tokens + needed > tokens and 'tokens'
    if short and (not found or counter.over > found.over) then
      found, kind = counter, short
    end
  end
  return found, kind
end

-- 'who period kind' of the refusal or '', the group, and a line for each quota: who, period, limits and what is used of them,
-- requests first, and when the period is over.
local function told_quotas(tenancy, refused, kind)
  local lines = {refused and refused.who .. ' ' .. refused.period .. ' ' .. kind or '', tenancy.group}
  for _, counter in ipairs(tenancy.counters) do
    lines[#lines + 1] = string.format('%s %s %.0f %.0f %.0f %.0f %d', counter.who, counter.period, counter.requests_limit,
      counter.requests, counter.tokens_limit, counter.tokens, counter.over)
  end
  return table.concat(lines, '\n')
end

local function book_quotas(tenancy, at, tokens)
  for _, counter in ipairs(tenancy.counters) do
    count(counter, at, 1, tokens)
    write_counter(counter)
  end
end

-- What a charge is to remember of where it was booked.
local function charge_suffix(tenancy)
  if not tenancy then
    return ''
  end
  local booked = {}
  for i, counter in ipairs(tenancy.counters) do
    booked[i] = string.sub(counter.who, 1, 1) .. string.sub(counter.period, 1, 1)
  end
  return '\n' .. tenancy.group .. '\n' .. table.concat(booked, ' ')
end

local PERIOD_OF = {h = 'hour', d = 'day', m = 'month'}

-- Of a charge's last lines: the group, and the counters that it was booked in, by prefix and field; nil: none.
local function booked_in(charge)
  local group, codes = string.match(charge or '', '\n([^\n]*)\n([^\n]*)$')
  if not group then
    return nil
  end
  local places = {}
  for who, period in string.gmatch(codes, '(%a)(%a)') do
    places[#places + 1] = {who == 'g' and group_prefix(group) or KEYS[2], PERIOD_OF[period]}
  end
  return group, places
end
