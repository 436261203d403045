-- Take one of a model's requests per second, where the model lives in another cluster slot than the user.
--
-- KEYS[1] the model's rate    ARGV charge, model requests per second
--
-- Returns 0, or the microseconds until another request fits.

local wait = model_wait_us(KEYS[1], tonumber(ARGV[2]), ARGV[1])
if wait <= 0 then
  model_admit(KEYS[1], ARGV[1])
end
return wait
