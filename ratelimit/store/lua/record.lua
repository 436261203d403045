-- Shared: the user's record at KEYS[1] (see users.py and limits.py). ARGV[1], ARGV[2]: the defaults for requests per
-- minute and for tokens per request.

local MAX_LIMIT = 2 ^ 63

local function limit(value)
  if value == nil then
    return 0
  end
  if type(value) == 'number' and value >= 0 and value <= MAX_LIMIT and value == math.floor(value) then
    return value
  end
  return nil
end

local function are_names(list)
  for key, name in pairs(list) do
    if type(key) ~= 'number' or type(name) ~= 'string' then
      return false
    end
  end
  return true
end

local function are_overrides(overrides)
  for _, pair in pairs(overrides) do
    if type(pair) ~= 'table' or #pair ~= 2 or not limit(pair[1]) or not limit(pair[2]) then
      return false
    end
  end
  return true
end

local function parse_record(raw)
  local decoded, record = pcall(cjson.decode, raw)
  if not decoded or type(record) ~= 'table' or type(record.name) ~= 'string' then
    return nil
  end
  record.rpm, record.tpm = limit(record.rpm), limit(record.tpm)
  record.max_parallel = limit(record.max_parallel)
  record.models, record.overrides = record.models or {}, record.overrides or {}
  if not record.rpm or not record.tpm or not record.max_parallel
      or type(record.disabled or false) ~= 'boolean'
      or type(record.models) ~= 'table' or not are_names(record.models)
      or type(record.overrides) ~= 'table' or not are_overrides(record.overrides) then
    return nil
  end
  if record.rpm == 0 then
    record.rpm = tonumber(ARGV[1])
  end
  if record.tpm == 0 then
    record.tpm = record.rpm * tonumber(ARGV[2])
  end
  return record
end

-- The record, or nil and the answer of a script that cannot go on without one.
local function read_record()
  local raw = redis.pcall('GET', KEYS[1])
  if not raw then
    return nil, {'unknown_user'}
  end
  if type(raw) == 'table' then
    return nil, string.find(raw.err, 'WRONGTYPE', 1, true) and {'corrupt_record'} or raw
  end
  local record = parse_record(raw)
  return record, not record and {'corrupt_record'} or nil
end

local function record_of_source()
  local rpm = tonumber(ARGV[1])
  return {rpm = rpm, tpm = rpm * tonumber(ARGV[2]), max_parallel = 0, models = {}, overrides = {}}
end

-- What holds for this user and model on top: requests and tokens per minute, or nil.
local function override_of(record, model)
  local pair = model ~= '' and record.overrides[model]
  if not pair then
    return nil
  end
  return {pair[1] > 0 and pair[1] or MAX_LIMIT, pair[2] > 0 and pair[2] or MAX_LIMIT}
end
