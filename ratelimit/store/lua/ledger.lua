-- Add what was used to the ledger of its days, once per batch (see usage_rows.py).
--
-- KEYS[1] the last batch of this writer    KEYS[2] what the keys of days begin with
-- ARGV    number of the batch, seconds that the writer is remembered for, 1 where records of users may be read from here,
--         then of each row: day, when it expires (Unix seconds), user, model, and seven counts (Used)
--
-- A day is a hash: '["user","group","model"]' -> the counts, divided by blanks.
--
-- Returns 1, or 0 when the batch had been written.

local COUNTS = 7
local MORE = '["(more)","(more)","(more)"]'

if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then
  return 0
end

local groups = {}
local function group_of(user)
  if ARGV[3] ~= '1' or user == '' then
    return ''
  end
  if not groups[user] then
    local raw = redis.pcall('GET', 'aibrix-users/' .. user)
    local decoded, record = pcall(cjson.decode, type(raw) == 'string' and raw or '')
    local group = decoded and type(record) == 'table' and record.group
    groups[user] = type(group) == 'string' and group or ''
  end
  return groups[user]
end

-- A day that expires while it is written begins anew, and is gone at once.
local expiries = {}
for at = 4, #ARGV, 4 + COUNTS do
  local key, user = KEYS[2] .. ARGV[at], ARGV[at + 2]
  expiries[key] = ARGV[at + 1]
  local field = cjson.encode({user, group_of(user), ARGV[at + 3]})
  local old = redis.call('HGET', key, field)
  if not old and redis.call('HLEN', key) >= MAX_ROWS_PER_DAY then
    field = MORE
    old = redis.call('HGET', key, field)
  end
  local sums, i = {}, 0
  for count in string.gmatch(old or '0 0 0 0 0 0 0', '%d+') do
    sums[#sums + 1] = string.format('%.0f', tonumber(count) + tonumber(ARGV[at + 4 + i]))
    i = i + 1
  end
  redis.call('HSET', key, field, table.concat(sums, ' '))
end
for key, expiry in pairs(expiries) do
  redis.call('EXPIREAT', key, expiry)
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
