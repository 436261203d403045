-- Put back what this server has forgotten (evicted, restarted, or failed over to a copy that lagged behind): of each
-- bucket the larger count holds, so that every replica may say so, and more than once.
--
-- KEYS[1] the user's record (unused)    KEYS[2] the prefix of its counters
-- ARGV    field of the scope, requests by bucket, tokens by bucket

for i, kind in ipairs({':requests', ':tokens'}) do
  local key, field = KEYS[2] .. kind, ARGV[1]
  -- Debt is for others to pay, who know the limit.
  local window = parse_window(redis.call('HGET', key, field))
  for bucket, count in pairs(counts_of(parse_window(ARGV[i + 1]))) do
    local missing = count - (counts_of(window)[bucket] or 0)
    if missing > 0 then
      book(key, field, window, bucket, missing, math.huge)
    end
  end
end
return 1
