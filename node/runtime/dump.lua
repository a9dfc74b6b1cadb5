-- Any value as Lua text: the fields of tables one below the other, sorted.
local DEFAULT_INDENT = 4

local reserved = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true until"
  .. " while"):gmatch("%a+") do
  reserved[word] = true
end

-- Where kinds of keys come. All but numbers and booleans are ordered by their text.
local ranks = { number = 1, boolean = 2, string = 3 }

local function is_before(one, other)
  if one.rank ~= other.rank then return one.rank < other.rank end
  if one.rank == ranks.boolean then return not one.key and other.key end
  return one.key < other.key
end

local function quoted(value)
  return ("%q"):format(tostring(value))
end

local write

-- The text of a key, and what it is ordered by.
local function write_key(key, as_is, depth, margin, context)
  local kind = type(key)
  if kind == "number" or kind == "boolean" then return "[" .. tostring(key) .. "]", key, ranks[kind] end
  local text
  if kind == "table" and not as_is then
    text = "[" .. write(key, depth + 1, margin, context) .. "]"
  elseif kind == "string" and key:find("^[%a_][%w_]*$") and not reserved[key] then
    text = key
  else
    text = "[" .. quoted(key) .. "]"
  end
  return text, text, ranks.string
end

local function write_value(value, as_is, depth, margin, context)
  local kind = type(value)
  if kind == "number" or kind == "boolean" or kind == "string" and as_is then return tostring(value) end
  if kind == "table" and not as_is then return write(value, depth, margin, context) end
  return quoted(value)
end

-- The text of a table. The filter is asked for each key and value, and for a table that contains itself.
function write(value, depth, margin, context)
  local filter, extra = context.filter, context.extra
  if context.open[value] then
    local other, as_is = filter(value, depth, "table", "circular", value, extra)
    if other == nil or other == value then return '"<Circular ' .. tostring(value) .. '>"' end
    if type(other) == "table" and as_is then return tostring(other) end
    return write_value(other, false, depth + 1, margin, context)
  end
  context.open[value] = true
  local fields, inner = {}, margin .. context.indent
  for key, element in pairs(value) do
    local shown_key, key_as_is = filter(key, depth, type(key), "key", nil, extra)
    if shown_key ~= nil then
      local shown, as_is = filter(element, depth, type(element), "val", shown_key, extra)
      if shown ~= nil then
        local text, order, rank = write_key(shown_key, key_as_is, depth, inner, context)
        text = inner .. text .. " = " .. write_value(shown, as_is, depth + 1, inner, context)
        fields[#fields + 1] = { text = text, key = order, rank = rank }
      end
    end
  end
  context.open[value] = nil
  if #fields == 0 then return "{}" end
  table.sort(fields, is_before)
  local parts = {}
  for place, field in ipairs(fields) do parts[place] = field.text end
  return "{" .. context.line_end .. table.concat(parts, "," .. context.line_end) .. context.line_end .. margin .. "}"
end

local function blanks(count, default, name)
  if count == nil then count = default end
  if math.type(count) == nil or count < 0 or count % 1 ~= 0 then error(name .. " must be unsigned integer", 3) end
  return (" "):rep(math.tointeger(count))
end

local function unfiltered(value)
  return value
end

-- `indent` is by how much fields stand in from their table (0: all on one line), `padding` by how much all does;
-- `filter(value, depth, type, use, key, extra)` gives what is to be shown, nil for nothing, and whether as it is.
return function(value, indent, padding, filter, extra)
  local step, margin = blanks(indent, DEFAULT_INDENT, "indent"), blanks(padding, 0, "padding")
  filter = filter == nil and unfiltered or filter
  if type(filter) ~= "function" then error("filter must be function", 2) end
  if type(value) == "table" then
    local line_end = step == "" and " " or "\n"
    local context = { indent = step, line_end = line_end, open = {}, filter = filter, extra = extra }
    return write(value, 1, margin, context)
  end
  local shown, as_is = filter(value, 0, type(value), "val", nil, extra)
  return as_is == true and tostring(shown) or quoted(shown)
end
