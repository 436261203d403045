-- Shared: what replicas count on from when this server goes away (last_spent.py reads it), at the end of an answer:
-- the time, and of each scope its limits, the requests used, and its windows, the subject's own scope first.

local function with_windows(answer, scopes)
  answer[#answer + 1] = now_us
  for _, scope in ipairs(scopes) do
    answer[#answer + 1] = string.format('%.0f', scope.rpm)
    answer[#answer + 1] = string.format('%.0f', scope.tpm)
    answer[#answer + 1] = scope.requests.used
    answer[#answer + 1] = scope.requests.text
    answer[#answer + 1] = scope.tokens.text
  end
  return answer
end
