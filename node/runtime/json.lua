-- JSON text to tables and back. Encoding sorts keys (`pairs` does), so equal tables give equal text.
-- An empty table is `[]`; null is nil when read. Fields that are functions are left out.
local json = { _version = "1.0" }

local escapes = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
}

local function escape(char)
  return escapes[char] or ("\\u%04x"):format(char:byte())
end

local encode

local function encode_list(list, ancestors)
  local parts, count = {}, 0
  for key in pairs(list) do
    if math.type(key) ~= "integer" then error("invalid table: mixed or invalid key types") end
    count = count + 1
  end
  if count ~= #list then error("invalid table: sparse array") end
  for place = 1, count do parts[place] = encode(list[place], ancestors) end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function encode_object(object, ancestors)
  local parts = {}
  for key, value in pairs(object) do
    if type(key) ~= "string" then error("invalid table: mixed or invalid key types") end
    if type(value) ~= "function" then parts[#parts + 1] = encode(key) .. ":" .. encode(value, ancestors) end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local encoders = {
  ["nil"] = function() return "null" end,
  boolean = tostring,
  string = function(text) return '"' .. text:gsub('[%c"\\]', escape) .. '"' end,
  number = function(number)
    if number ~= number or number == math.huge or number == -math.huge then
      error("unexpected number value '" .. tostring(number) .. "'")
    end
    return math.type(number) == "integer" and tostring(number) or ("%.14g"):format(number)
  end,
  table = function(value, ancestors)
    ancestors = ancestors or {}
    if ancestors[value] then error("circular reference") end
    ancestors[value] = true
    local is_list = rawget(value, 1) ~= nil or next(value) == nil
    local text = (is_list and encode_list or encode_object)(value, ancestors)
    ancestors[value] = nil
    return text
  end,
}

function encode(value, ancestors)
  local encoder = encoders[type(value)]
  if not encoder then error("unexpected type '" .. type(value) .. "'") end
  return encoder(value, ancestors)
end

function json.encode(value)
  return (encode(value))
end

local unescapes = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function fail(text, at, reason)
  local _, lines = text:sub(1, at - 1):gsub("\n", "")
  local column = at - (text:sub(1, at - 1):match(".*()\n") or 0)
  error(("%s at line %d col %d"):format(reason, lines + 1, column))
end

local function after_blanks(text, at)
  return text:find("[^ \t\r\n]", at) or #text + 1
end

local function code_unit(text, at)
  local digits = text:match("^%x%x%x%x", at)
  if not digits then fail(text, at, "invalid unicode escape in string") end
  return tonumber(digits, 16)
end

-- The character of the `\u` escape whose digits start at `at`, and the position behind it.
local function unicode(text, at)
  local unit = code_unit(text, at)
  at = at + 4
  if unit >= 0xd800 and unit < 0xdc00 and text:match("^\\u[dD][c-fC-F]%x%x", at) then
    local low = code_unit(text, at + 2)
    return utf8.char(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)), at + 6
  end
  return utf8.char(unit), at
end

local function read_string(text, start)
  local parts, at = {}, start + 1
  while true do
    local stop = text:find('[%c"\\]', at)
    if not stop then fail(text, start, "expected closing quote for string") end
    parts[#parts + 1] = text:sub(at, stop - 1)
    local char = text:sub(stop, stop)
    if char == '"' then return table.concat(parts), stop + 1 end
    -- 0x7f is a control character to Lua and none to JSON.
    if char == "\127" then
      parts[#parts + 1], at = char, stop + 1
    elseif char ~= "\\" then
      fail(text, stop, "control character in string")
    else
      local escaped = text:sub(stop + 1, stop + 1)
      if escaped == "u" then
        parts[#parts + 1], at = unicode(text, stop + 2)
      else
        parts[#parts + 1] = unescapes[escaped] or fail(text, stop, "invalid escape char '" .. escaped .. "' in string")
        at = stop + 2
      end
    end
  end
end

local function read_number(text, at)
  local digits = text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at)
  local number = digits and tonumber(digits)
  if not number then fail(text, at, "invalid number") end
  return number, at + #digits
end

local read

-- As in aos, the last element may have a comma behind it.
local function read_list(text, at)
  local list, length = {}, 0
  at = after_blanks(text, at + 1)
  while text:sub(at, at) ~= "]" do
    length = length + 1
    list[length], at = read(text, at)
    at = after_blanks(text, at)
    local char = text:sub(at, at)
    if char == "]" then return list, at + 1 end
    if char ~= "," then fail(text, at, "expected ']' or ','") end
    at = after_blanks(text, at + 1)
  end
  return list, at + 1
end

local function read_object(text, at)
  local object = {}
  at = after_blanks(text, at + 1)
  while text:sub(at, at) ~= "}" do
    if text:sub(at, at) ~= '"' then fail(text, at, "expected string for key") end
    local key
    key, at = read_string(text, at)
    at = after_blanks(text, at)
    if text:sub(at, at) ~= ":" then fail(text, at, "expected ':' after key") end
    object[key], at = read(text, at + 1)
    at = after_blanks(text, at)
    local char = text:sub(at, at)
    if char == "}" then return object, at + 1 end
    if char ~= "," then fail(text, at, "expected '}' or ','") end
    at = after_blanks(text, at + 1)
  end
  return object, at + 1
end

local words = { ["true"] = true, ["false"] = false }

function read(text, at)
  at = after_blanks(text, at)
  local char = text:sub(at, at)
  if char == "{" then return read_object(text, at) end
  if char == "[" then return read_list(text, at) end
  if char == '"' then return read_string(text, at) end
  if char:find("[%d-]") then return read_number(text, at) end
  local word = text:match("^%a+", at)
  if word == "null" then return nil, at + 4 end
  if words[word] == nil then fail(text, at, "unexpected character '" .. char .. "'") end
  return words[word], at + #word
end

function json.decode(text)
  if type(text) ~= "string" then error("expected argument of type string, got " .. type(text)) end
  local value, at = read(text, 1)
  at = after_blanks(text, at)
  if at <= #text then fail(text, at, "trailing garbage") end
  return value
end

return json
