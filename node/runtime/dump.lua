-- Any value as Lua text for people: lists on one line, fields one below the other.
local dump = {}

local function quoted(text)
  local quote = text:find('"', 1, true) and not text:find("'", 1, true) and "'" or '"'
  text = text:gsub("\\", "\\\\"):gsub("[%c]", function(char)
    local short = ({ ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" })[char]
    return short or ("\\%03d"):format(char:byte())
  end)
  if quote == '"' then text = text:gsub('"', '\\"') end
  return quote .. text .. quote
end

local function key_text(key, write)
  if type(key) == "string" and key:match("^[%a_][%w_]*$") then return key end
  return "[" .. write(key) .. "]"
end

local function write(value, indent, ancestors)
  if type(value) == "string" then return quoted(value) end
  if type(value) ~= "table" then
    local plain = type(value) == "number" or type(value) == "boolean" or value == nil
    return plain and tostring(value) or "<" .. type(value) .. ">"
  end
  if ancestors[value] then return "<table>" end
  ancestors[value] = true
  local parts, fields, length = {}, 0, #value
  for place = 1, length do parts[place] = " " .. write(value[place], indent + 2, ancestors) end
  local margin = "\n" .. (" "):rep(indent + 2)
  for key, element in pairs(value) do
    if math.type(key) ~= "integer" or key < 1 or key > length then
      fields = fields + 1
      local name = key_text(key, function(other) return write(other, indent + 2, ancestors) end)
      parts[#parts + 1] = margin .. name .. " = " .. write(element, indent + 2, ancestors)
    end
  end
  ancestors[value] = nil
  if #parts == 0 then return "{}" end
  return "{" .. table.concat(parts, ",") .. (fields > 0 and "\n" .. (" "):rep(indent) or " ") .. "}"
end

function dump.inspect(value)
  return write(value, 0, {})
end

return setmetatable(dump, { __call = function(_, value) return dump.inspect(value) end })
