-- Runs inside Envoy on every response; filters in Envoy Gateway's order: lua, ext_proc, router.
--
-- In:  dynamic metadata `gateway_plugin`, which the plugin (ext_proc) set on the request, and the response header
--      `target-pod-ip`, which the route sets to %UPSTREAM_REMOTE_ADDRESS%: the pod that really served.
-- Out: response headers that tell the client what was decided, and dynamic metadata `gateway_plugin.usage` with
--      prompt_tokens, completion_tokens, total_tokens and (where the engine says so) cached_tokens for the access log;
--      `streamed` says that the response is a stream of events, so that its first byte is its first token.
--
-- The body streams through untouched: only its first and last bytes are kept. Rather no numbers than wrong ones: a
-- `usage` counts only as a key of the document itself, so text that a model or a client wrote cannot pose as one.

local NAMESPACE = "gateway_plugin"
local HEAD_BYTES = 2048 -- Anthropic's message_start, which holds the prompt's tokens
local TAIL_BYTES = 4096 -- the last documents of a stream, or the end of a JSON body

-- Headers ------------------------------------------------------------------------------------------------------------

local function add_headers(headers, about)
  local address = headers:get("target-pod-ip")
  headers:remove("target-pod-ip")
  headers:remove("target-pod")
  if not about then return end
  headers:replace("x-went-into-req-headers", "true")
  headers:replace("request-id", about.request_id)
  for name, value in pairs(about.headers or {}) do headers:replace(name, value) end
  if not about.strategy then return end
  headers:replace("routing-strategy", about.strategy)
  if not address or address == "-" then return end
  headers:replace("target-pod-ip", address)
  if about.pods and about.pods[address] then headers:replace("target-pod", about.pods[address]) end
end

-- Documents: the structure of JSON text, by patterns -----------------------------------------------------------------

-- Blanks escapes, and strings that hold brackets, so that patterns see structure only. `cut`: the text may begin inside
-- a string; as it ends outside, an odd number of quotes tells. (Begun after a backslash, it has a quote too many, which
-- then opens the very string it was in.)
local function structure_of(text, cut)
  text = text:gsub("\\.", "..")
  local _, quotes = text:gsub('"', "")
  if quotes % 2 == 1 then text = cut and text:gsub('^[^"]*"', "") or "" end
  return (text:gsub('"[^"]*"', function(word) return word:find("[%[%]{}]") and '""' or nil end))
end

-- The last `"key": {...}` that exactly `depth` brackets enclose; counted from the end, where the text is whole.
local function member(text, key, depth)
  local found
  for object, after in text:gmatch('"' .. key .. '"%s*:%s*(%b{})()') do
    local rest = text:sub(after)
    local _, closing = rest:gsub("[}%]]", "")
    local _, opening = rest:gsub("[{%[]", "")
    if closing - opening == depth then found = object end
  end
  return found
end

-- The usage object of one document; `parent`: the member of the document that holds it, if not the document itself.
local function usage_in(text, cut, parent)
  if not text:find('"usage"%s*:%s*{') then return nil end
  local document = structure_of(text, cut)
  if cut then return document:find("}%s*$") and member(document, "usage", parent and 2 or 1) end
  if not document:find("^%s*%b{}%s*$") then return nil end
  if parent then document = member(document, parent, 1) end
  return document and member(document, "usage", 1)
end

local function data_of(line) return line:match("^data: ?(.*)$") end

-- The last usage among the complete lines of an SSE stream. Only the first line of a `cut` tail may lack its beginning.
local function last_usage(tail, cut, parent)
  local lines, whole = {}, tail:find("[\r\n]$")
  for line in tail:gmatch("[^\r\n]+") do lines[#lines + 1] = line end
  for i = #lines, 1, -1 do
    local fragment = cut and i == 1
    local text = data_of(lines[i])
    if fragment then text = (whole or #lines > 1) and lines[i] or nil end
    local usage = text and usage_in(text, fragment, parent)
    if usage then return usage end
  end
  return nil
end

-- Counts: what the three wire formats call their tokens --------------------------------------------------------------

-- Adds the object's own whole numbers (not those of nested objects) to `numbers`.
local function read_numbers(object, numbers)
  local flat = object:sub(2):gsub("%b{}", "{}")
  for name, digits in flat:gmatch('"([%w_]+)"%s*:%s*(%d+)%s*[,}]') do
    if #digits < 16 then numbers[name] = tonumber(digits) end
  end
  return numbers
end

local function openai_counts(usage)
  local numbers = read_numbers(usage, {})
  local details = member(usage, "prompt_tokens_details", 1) or member(usage, "input_tokens_details", 1) or "{}"
  return {
    prompt_tokens = numbers.prompt_tokens or numbers.input_tokens,
    completion_tokens = numbers.completion_tokens or numbers.output_tokens,
    total_tokens = numbers.total_tokens,
    cached_tokens = read_numbers(details, {}).cached_tokens,
  }
end

-- Anthropic's input_tokens leave out what the prompt cache served or stored.
local function anthropic_counts(numbers)
  if not (numbers.input_tokens and numbers.output_tokens) then return nil end
  local cached = numbers.cache_read_input_tokens
  local prompt = numbers.input_tokens + (cached or 0) + (numbers.cache_creation_input_tokens or 0)
  return {
    prompt_tokens = prompt,
    completion_tokens = numbers.output_tokens,
    total_tokens = prompt + numbers.output_tokens,
    cached_tokens = cached,
  }
end

local function counts_of(usage, start)
  if start then
    local numbers = read_numbers(start, {})
    numbers.output_tokens = nil -- those of the first chunk only
    return anthropic_counts(read_numbers(usage, numbers))
  end
  local counts = openai_counts(usage)
  if not counts.total_tokens then return anthropic_counts(read_numbers(usage, {})) end
  if counts.prompt_tokens and not counts.completion_tokens then -- embeddings
    counts.completion_tokens = math.max(counts.total_tokens - counts.prompt_tokens, 0)
  end
  return counts
end

local function sse_counts(head, tail, cut)
  head = "\n" .. head
  local first = head:match('[\r\n](data:[^\r\n]*"type"%s*:%s*"message_start"[^\r\n]*)[\r\n]')
  local start = first and usage_in(data_of(first), false, "message")
  local parent = head:find("[\r\n]event: ?response%.") and "response" or nil
  local usage = last_usage(tail, cut, parent)
  return usage and counts_of(usage, start)
end

local function json_counts(_, tail, cut)
  local usage = usage_in(tail, cut, nil)
  return usage and counts_of(usage, nil)
end

-- The stream ---------------------------------------------------------------------------------------------------------

-- The parser for this body, or nil for a body that is left alone.
local function parser_for(headers)
  if not (headers:get(":status") or ""):find("^2") then return nil end
  if (headers:get("content-encoding") or "identity") ~= "identity" then return nil end
  local content_type = (headers:get("content-type") or ""):lower()
  if content_type:find("^text/event%-stream") then return sse_counts end
  return content_type:find("^application/json") and json_counts or nil
end

-- Head and tail of the body, and whether the tail lacks the body's beginning. Yields to Envoy at every chunk. Pieces
-- are joined once: joining at every chunk costs a millisecond per response.
local function head_and_tail(handle)
  local head, head_bytes = {}, 0
  local tail, tail_bytes, oldest, newest = {}, 0, 1, 0
  local cut = false
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if length > 0 and head_bytes < HEAD_BYTES then
      head[#head + 1] = chunk:getBytes(0, math.min(length, HEAD_BYTES - head_bytes))
      head_bytes = head_bytes + length
    end
    if length > 0 then
      local kept = math.min(length, TAIL_BYTES)
      newest = newest + 1
      tail[newest] = chunk:getBytes(length - kept, kept)
      tail_bytes = tail_bytes + kept
      cut = cut or kept < length
    end
    while oldest < newest and tail_bytes - #tail[oldest] >= TAIL_BYTES do
      tail_bytes = tail_bytes - #tail[oldest]
      tail[oldest] = nil
      oldest = oldest + 1
      cut = true
    end
  end
  return table.concat(head), table.concat(tail, "", oldest, newest), cut
end

function envoy_on_response(handle)
  local about = handle:streamInfo():dynamicMetadata():get(NAMESPACE)
  local added, problem = pcall(add_headers, handle:headers(), about)
  if not added then handle:logWarn("gateway.lua: headers: " .. tostring(problem)) end
  local parser = about and parser_for(handle:headers())
  if not parser then return end
  if parser == sse_counts then handle:streamInfo():dynamicMetadata():set(NAMESPACE .. ".usage", "streamed", true) end
  local parsed, counts = pcall(parser, head_and_tail(handle))
  if not parsed then handle:logWarn("gateway.lua: usage: " .. tostring(counts)) end
  if not parsed or not counts then return end
  local metadata = handle:streamInfo():dynamicMetadata()
  for name, count in pairs(counts) do metadata:set(NAMESPACE .. ".usage", name, count) end
end
