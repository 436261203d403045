-- KEYS[1]: a trace of ten seconds. ARGV: what one replica adds, as JSON; seconds to keep it.
-- Counts are added, the rest is as the newest says. Text that is no trace is replaced.
local have = redis.call('GET', KEYS[1])
local read, total = pcall(cjson.decode, have or '{}')
if not read or type(total) ~= 'table' then total = {} end
for key, value in pairs(cjson.decode(ARGV[1])) do
  local counts = string.sub(key, 1, 5) ~= 'meta_' or key == 'meta_total_reqs' or key == 'meta_pending_reqs'
  total[key] = counts and (tonumber(total[key]) or 0) + value or value
end
redis.call('SET', KEYS[1], cjson.encode(total), 'EX', ARGV[2])
return 1
