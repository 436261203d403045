-- Runs inside Envoy on every response; filters in Envoy Gateway's order: lua, ext_proc, router.
--
-- In:  dynamic metadata `gateway_plugin`, which the plugin (ext_proc) set on the request, and the response header
--      `target-pod-ip`, which the route sets to %UPSTREAM_REMOTE_ADDRESS%: the pod that really served.
-- Out: response headers that tell the client what was decided, and dynamic metadata `gateway_plugin.usage` for the
--      access log: `tokens`, a table of prompt_tokens, completion_tokens, total_tokens and (where the engine says so)
--      cached_tokens; and of a stream `first_body_at_ms`, when its first output passed, by Envoy's clock since 1970.
--
-- The body streams through untouched: only its first and last bytes are kept; short JSON is read in one piece. Rather no
-- numbers than wrong ones: a `usage` counts only as a key of the document itself, so text that a model or a client wrote
-- cannot pose as one. One thing is taken out: where the plugin asked the engine for usage in the client's name
-- (`added_usage`), the event that holds nothing else does not go on to the client.

local NAMESPACE = "gateway_plugin"
local HEAD_BYTES = 2048 -- Anthropic's message_start, which holds the prompt's tokens
local TAIL_BYTES = 4096 -- the last documents of a stream, or the end of a JSON body
local MOST_BYTES = 16384 -- of a chunk that is kept whole

-- Every chunk of a stream leaves an object behind. Collecting them less often saves a fifth of Lua's time, and may hold
-- four times the memory of the responses under way, which is some KiB each, instead of twice.
collectgarbage("setpause", 400)

-- Headers ------------------------------------------------------------------------------------------------------------

-- Which web pages may read an answer is the gateway's to say: engines by default let all of them.
local OF_WEB_PAGES = {
  "access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers",
  "access-control-allow-methods", "access-control-allow-headers", "access-control-max-age",
  "access-control-allow-private-network",
}

local function add_headers(headers, about)
  local address = headers:get("target-pod-ip")
  headers:remove("target-pod-ip")
  headers:remove("target-pod")
  if not about then return end
  headers:replace("x-went-into-req-headers", "true")
  headers:replace("request-id", about.request_id) -- as Anthropic's clients read it
  headers:replace("x-request-id", about.request_id) -- as OpenAI's do
  if about.model then -- an engine's answer, and not the gateway's own API's
    for _, name in ipairs(OF_WEB_PAGES) do headers:remove(name) end
  end
  for name, value in pairs(about.headers or {}) do headers:replace(name, value) end
  if not about.strategy then return end
  headers:replace("routing-strategy", about.strategy)
  if not address or address == "-" or about.hide_pod then return end
  headers:replace("target-pod-ip", address)
  if about.pods and about.pods[address] then headers:replace("target-pod", about.pods[address]) end
end

-- Documents: the structure of JSON text, by patterns -----------------------------------------------------------------

-- Blanks escapes, and strings that hold brackets, so that patterns see structure only. The text begins outside a
-- string; "" when it ends inside one.
local function structure_of(text)
  if text:find("\\", 1, true) then text = text:gsub("\\.", "..") end
  local _, quotes = text:gsub('"', "")
  if quotes % 2 == 1 then return "" end
  return (text:gsub('"[^"]*"', function(word) return word:find("[%[%]{}]") and '""' or nil end))
end

-- How many brackets `text` closes beyond those that it opens.
local function closed_by(text)
  local brackets = text:gsub("[^%[%]{}]+", "")
  local _, closing = brackets:gsub("[}%]]", "")
  return 2 * closing - #brackets
end

-- The last `"key": {...}` of the object that `document` (a structure) is.
local function member(document, key)
  local quoted, found, enclosing, start, from = '"' .. key .. '"', nil, 0, 1, 1
  while true do
    local at, stop = document:find(quoted, from, true)
    if not at then return found end
    local object, after = document:match("^%s*:%s*(%b{})()", stop + 1)
    if object then
      enclosing = enclosing - closed_by(document:sub(start, at - 1))
      if enclosing == 1 then found = object end
      start = after
    end
    from = after or stop + 1
  end
end

-- Where `"usage"` stands as a whole string. After a backslash its first quote belongs to a longer string; at the very
-- beginning nobody knows what stood before it.
local function usages(text, cut)
  local found, from = {}, cut and 2 or 1
  while true do
    local at = text:find('"usage"', from, true)
    if not at then return found end
    if text:byte(at - 1) ~= 92 then found[#found + 1] = at end
    from = at + 7
  end
end

-- Whether a document ends here. A pattern that is tied to the end alone would be tried at every byte: first the last few.
local function ends(text)
  local last = text:sub(-8)
  if last:find("%S") then return last:find("}%s*$") end
  return text:find("}%s*$")
end

-- The usage object that begins at `at`, when one bracket encloses it and nothing after it is harder to read than numbers
-- and simple words: what engines usually write, told without a look at each string. Strings vanish from the left, so the
-- first with an escape or a bracket leaves a quote.
local function plain_usage(text, at)
  local rest = text:sub(at)
  local bare = rest:gsub('"[^"\\%[%]{}]*"', "")
  if bare:find('"', 1, true) or not bare:find("^%s*:%s*%b{}[^%[%]{}]*}%s*$") then return nil end
  return rest:match('^"usage"%s*:%s*(%b{})')
end

-- The last usage object that exactly `depth` brackets enclose, counted from the end of a complete document: what lies
-- before it need not be read, or known.
local function usage_from_end(text, depth, cut)
  local found = usages(text, cut)
  local plain = depth == 1 and found[1] and plain_usage(text, found[#found])
  if plain then return plain end
  if not ends(text) then return nil end
  local enclosing, stop = 0, #text
  for i = #found, 1, -1 do
    local piece = structure_of(text:sub(found[i], stop))
    if piece == "" then return nil end
    enclosing = enclosing + closed_by(piece)
    stop = found[i] - 1
    if enclosing == depth then
      local object = piece:match('^"usage"%s*:%s*(%b{})')
      if object then return object end
      if piece:find('^"usage"%s*:%s*{') then -- cut by a "usage" inside of it
        return structure_of(text:sub(found[i])):match('^"usage"%s*:%s*(%b{})')
      end
    end
  end
  return nil
end

-- The usage object of a whole document, or of the document's member `parent`.
local function usage_of_whole(text, parent)
  local document = structure_of(text)
  if not document:find("^%s*%b{}%s*$") then return nil end
  if parent then document = member(document, parent) end
  return document and member(document, "usage")
end

-- The usage object of a document of which only the beginning is known: engines that write `usage` before a long list.
local function usage_from_start(head)
  if not head:find("^%s*{") or not head:find('"usage"', 1, true) then return nil end
  local document = structure_of(head .. " ")
  if document == "" then document = structure_of(head .. ' "') end -- it ends inside a string
  return member(document, "usage")
end

-- Streams: the events of SSE -----------------------------------------------------------------------------------------

-- The data of one event; nil when it has none.
local function data_of(event)
  if not event:find("\n", 1, true) then return event:match("^data: ?(.*)$") end
  local data
  for line in event:gmatch("[^\n]+") do
    local text = line:match("^data: ?(.*)$")
    if text then data = data and data .. "\n" .. text or text end
  end
  return data
end

-- The events of a stream's tail that speak of usage. Of a `cut` tail the first line may lack its beginning: `fragment`
-- is that line, unless more data of the same event follows it. `open`: the last event has no end.
local function events_of(tail, cut)
  if tail:find("\r", 1, true) then tail = tail:gsub("\r\n?", "\n") end
  local fragment
  if cut then fragment, tail = tail:match("^([^\n]*)\n(.*)$") end
  if not tail then return {} end
  local events, from = {}, 1
  while from <= #tail do
    local stop = tail:find("\n\n", from, true) or #tail + 1
    local event = tail:sub(from, stop - 1)
    if cut and from == 1 and event:find("^[^\n]") and data_of(event) then fragment = nil end
    if event:find('"usage"', 1, true) then events[#events + 1] = event end
    from = stop + 2
  end
  return events, fragment, tail:sub(-2) ~= "\n\n"
end

-- An event of the Responses API holds its usage in the member `response`. Only the last event can be incomplete, and
-- only when it is `open`; then all of its structure must be seen.
local function usage_of_event(event, open, responses)
  local data = data_of(event)
  if not data then return nil end
  if responses or data:find('"type"%s*:%s*"response%.') then return usage_of_whole(data, "response") end
  if open then return usage_of_whole(data) end
  return usage_from_end(data, 1)
end

-- The last usage among the complete events of a stream.
local function last_usage(tail, cut, responses)
  if not tail:find('"usage"', 1, true) then return nil end
  local events, fragment, open = events_of(tail, cut)
  for i = #events, 1, -1 do
    local usage = usage_of_event(events[i], open and i == #events, responses)
    if usage then return usage end
  end
  if not fragment then return nil end
  responses = responses or fragment:find('"type"%s*:%s*"response%.')
  return usage_from_end(fragment, responses and 2 or 1, true)
end

-- The usage with which an Anthropic stream begins: its prompt's tokens.
local function first_usage(head)
  if not head:find('"message_start"', 1, true) then return nil end
  local data = head:match('[\r\n]data: ?([^\r\n]*"type"%s*:%s*"message_start"[^\r\n]*)[\r\n]')
  return data and usage_of_whole(data, "message")
end

-- Taking out what the client did not ask for --------------------------------------------------------------------------

local MOST_HELD_BYTES = 8192 -- an event of usage alone has some hundred

-- Where the first event ends that ends at `from` or later; nil when none does.
local function event_end(text, from)
  local _, stop = text:find("\n\r?\n", from)
  local _, bare = text:find("\r\r", from, true)
  return bare and (not stop or bare < stop) and bare or stop
end

-- Whether an event holds usage and not even an empty choice: its document's own keys, whatever else it says.
local function is_usage_only(event)
  if not event:find('"usage"%s*:%s*{') or not event:find('"choices"%s*:%s*%[%s*%]') then return false end
  local data = data_of((event:gsub("\r\n?", "\n"):gsub("\n+$", "")))
  local inner = data and structure_of(data):match("^%s*{(.*)}%s*$")
  if not inner then return false end
  local flat = inner:gsub("%b{}", "{}")
  return flat:find('"usage"%s*:%s*{}') ~= nil and flat:find('"choices"%s*:%s*%[%s*%]') ~= nil
end

-- Whether all of `piece` may go on at once, if an event begins with it: it ends with an event, and no choices are empty.
-- This is what nearly all chunks of a stream are.
local function is_plain(piece)
  local length = #piece
  if piece:byte(length) ~= 10 or piece:byte(length - 1) ~= 10 then return false end
  if not piece:find('"usage"', 1, true) then return true end
  if not piece:find("[]", 1, true) and not piece:find("[ ", 1, true) then return true end -- some time before the pattern
  return not piece:find('"choices"%s*:%s*%[%s*%]')
end

-- A function that is given a stream piece by piece, and returns what may go on to the client now, and what it still holds:
-- the beginning of an event that is not complete. An event that grows too long to be of usage alone goes on unread.
local function usage_remover()
  local held, passed = "", nil -- `passed`: the last bytes of an event that went on incomplete
  return function(piece)
    if held == "" and not passed and is_plain(piece) then return piece, "" end
    local text, out, from = held .. piece, {}, 1
    if passed then
      local stop = event_end(passed .. text, 1)
      from = stop and math.max(stop - #passed, 0) + 1 or #text + 1
      out[1] = text:sub(1, from - 1)
      passed = not stop and (passed .. text):sub(-3) or nil
    end
    while from <= #text do
      local stop = event_end(text, from)
      if not stop then break end
      local event = text:sub(from, stop)
      if not is_usage_only(event) then out[#out + 1] = event end
      from = stop + 1
    end
    held = text:sub(from)
    if #held > MOST_HELD_BYTES then
      out[#out + 1], passed, held = held, held:sub(-3), ""
    end
    return table.concat(out), held
  end
end

-- Counts: what the three wire formats call their tokens --------------------------------------------------------------

local COUNTS = {
  prompt_tokens = true, completion_tokens = true, total_tokens = true, cached_tokens = true,
  input_tokens = true, output_tokens = true, cache_read_input_tokens = true, cache_creation_input_tokens = true,
}

-- Adds the object's own counts (not those of nested objects) to `numbers`; nil when one is no whole number.
local function read_numbers(object, numbers)
  local flat = object:sub(2)
  if flat:find("[{%[]") then flat = flat:gsub("%b{}", ""):gsub("%b[]", "") end
  for name, value in flat:gmatch('"([%w_]+)"%s*:%s*([^%s,}"]*)') do
    if COUNTS[name] and value ~= "null" then
      if #value > 15 or not value:find("^%d+$") then return nil end
      numbers[name] = tonumber(value)
    end
  end
  return numbers
end

-- Anthropic's input_tokens leave out what the prompt cache served or stored.
local function prompt_of(numbers)
  if numbers.prompt_tokens or numbers.total_tokens then return numbers.prompt_tokens or numbers.input_tokens end
  local cache = (numbers.cache_read_input_tokens or 0) + (numbers.cache_creation_input_tokens or 0)
  return numbers.input_tokens and numbers.input_tokens + cache
end

-- Of a stream that begins with usage (`start`), the end adds to it or corrects it.
local function counts_of(usage, start)
  local numbers = {}
  if start then numbers = read_numbers(start, numbers) end
  if numbers then numbers.output_tokens = nil end -- those of the first chunk only
  numbers = numbers and read_numbers(usage, numbers)
  local details = member(usage, "prompt_tokens_details") or member(usage, "input_tokens_details")
  local cached = {}
  if details then cached = read_numbers(details, cached) end
  if not numbers or not cached then return nil end
  local prompt, completion = prompt_of(numbers), numbers.completion_tokens or numbers.output_tokens
  if start and not completion then return nil end
  local total = numbers.total_tokens or prompt and completion and prompt + completion
  if not total then return nil end
  if prompt and not completion then completion = math.max(total - prompt, 0) end -- embeddings
  return {
    prompt_tokens = prompt,
    completion_tokens = completion,
    total_tokens = total,
    cached_tokens = cached.cached_tokens or numbers.cache_read_input_tokens,
  }
end

local function sse_counts(head, tail, cut)
  head = "\n" .. head
  local responses = head:find("response.", 1, true) and head:find("[\r\n]event: ?response%.")
  local usage = last_usage(tail, cut, responses)
  return usage and counts_of(usage, first_usage(head))
end

local function json_counts(head, tail, cut)
  local usage = usage_from_end(tail, 1, cut) or cut and ends(tail) and usage_from_start(head)
  return usage and counts_of(usage)
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

-- What streams send before the first token: keep-alives, and the Responses API's word that it has begun.
local EARLY = {
  "^:", "^event: ?ping", "^event: ?response%.created", "^event: ?response%.in_progress", "^event: ?response%.queued",
}

local function has_output(piece)
  for _, pattern in ipairs(EARLY) do
    if piece:find(pattern) then return piece:find("delta", 1, true) ~= nil end
  end
  return true
end

-- Head and tail of the body, and whether the tail lacks the body's beginning. Yields to Envoy at every chunk, so little is
-- done for each: pieces are kept as they come, in two lists of TAIL_BYTES or more, of which the older one is dropped when
-- the newer one is full; they are joined once, at the end. Bytes amid a long chunk are not even copied, unless something is
-- to be taken out (`remove`). `started` is called at the first output.
local function head_and_tail(handle, started, remove)
  local pieces, count, bytes = {}, 0, 0
  local older, older_count = {}, 0
  local head, cut = nil, false
  local last, gone, held -- the newest chunk, what of it goes on, and what is kept back

  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    local whole = remove and chunk:getBytes(0, length)
    if whole then
      last, gone, held = chunk, remove(whole)
      if gone ~= whole then chunk:setBytes(gone) end
    end
    if length > 0 then
      if bytes >= TAIL_BYTES then
        if older_count > 0 then
          head, cut = head or table.concat(older, "", 1, older_count):sub(1, HEAD_BYTES), true
        end
        older, pieces = pieces, older
        older_count, count, bytes = count, 0, 0
      end
      local skipped = 0
      if length > MOST_BYTES then
        if not cut then
          local before = table.concat(older, "", 1, older_count) .. table.concat(pieces, "", 1, count)
          head = (before .. (whole or chunk:getBytes(0, HEAD_BYTES))):sub(1, HEAD_BYTES)
        end
        cut, skipped, older_count, count, bytes = true, length - TAIL_BYTES, 0, 0, 0
      end
      local piece = whole and whole:sub(skipped + 1) or chunk:getBytes(skipped, length - skipped)
      count, bytes = count + 1, bytes + length - skipped
      pieces[count] = piece
      if started and has_output(piece) then
        started()
        started = nil
      end
    end
  end
  if held and held ~= "" then
    -- The stream ended amid an event. Its last chunk can still be changed, unless trailers came after it.
    pcall(last.setBytes, last, gone .. held)
  end
  local text = table.concat(older, "", 1, older_count) .. table.concat(pieces, "", 1, count)
  head = head or text:sub(1, HEAD_BYTES)
  return head, text:sub(-TAIL_BYTES), cut or #text > TAIL_BYTES
end

-- The whole body of a response that says it is short, in one piece and with one wait; nil for all others. Nothing of it
-- leaves before its end is here, which is at once. A pod that fails meanwhile gets Envoy's own answer, which does not pass
-- this script: it would name pods that are to be hidden.
local function short_body(handle, length)
  if not length or length > TAIL_BYTES then return nil end
  local body = handle:body()
  return body and body:getBytes(0, body:length()) or ""
end

-- What `parser` needs of the body.
local function read_body(handle, parser, length, started, remove)
  local body = parser == json_counts and short_body(handle, length)
  if body then return body, body, false end
  return head_and_tail(handle, started, remove)
end

-- Metadata wrappers do not outlive a yield to Envoy, so each call asks anew.
local function publish(handle, name, value)
  handle:streamInfo():dynamicMetadata():set(NAMESPACE .. ".usage", name, value)
end

function envoy_on_response(handle)
  local about, headers = handle:streamInfo():dynamicMetadata():get(NAMESPACE), handle:headers()
  local added, problem = pcall(add_headers, headers, about)
  if not added then handle:logWarn("gateway.lua: headers: " .. tostring(problem)) end
  local parser = about and parser_for(headers)
  if not parser then return end
  local length = not about.hide_pod and tonumber(headers:get("content-length") or "")
  local started, remove
  if parser == sse_counts then
    started = function() publish(handle, "first_body_at_ms", handle:timestamp()) end
    if about.added_usage then
      headers:remove("content-length")
      remove = usage_remover()
    end
  end
  local parsed, counts = pcall(parser, read_body(handle, parser, length, started, remove))
  if not parsed then handle:logWarn("gateway.lua: usage: " .. tostring(counts)) end
  if parsed and counts then publish(handle, "tokens", counts) end
end
