-- Tables as coloured text for the console.
local colors = require(".colors")
local stringify = { _version = "0.0.1" }

-- Whether a table is a list of nothing but texts and numbers, which is shown on one line.
function stringify.isSimpleArray(list)
  local place = 0
  for key, value in pairs(list) do
    place = place + 1
    if key ~= place or (type(value) ~= "number" and type(value) ~= "string") then return false end
  end
  return true
end

-- The text of a value that has one of its own, such as a big integer.
local function own_text(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__tostring and tostring(value) or nil
end

local function scalar(value)
  if type(value) == "string" then return colors.green .. '"' .. value .. '"' .. colors.reset end
  return colors.blue .. tostring(value) .. colors.reset
end

local function is_list(value)
  local count = 0
  for key in pairs(value) do
    count = count + 1
    if key ~= count then return false end
  end
  return true
end

-- The text of a table; `indent` is by how much it stands in, `ancestors` the tables that contain it. As in aos, fields
-- stand in by one more than the elements of a list, whose closing brace does too.
function stringify.format(value, indent, ancestors)
  if type(value) ~= "table" then return tostring(value) end
  indent, ancestors = indent or 0, ancestors or {}
  if ancestors[value] then return colors.red .. "<circular reference>" .. colors.reset end
  local text = own_text(value)
  if text then return text end
  local parts = {}
  if stringify.isSimpleArray(value) then
    for place, element in ipairs(value) do parts[place] = scalar(element) end
    return "{ " .. table.concat(parts, ", ") .. " }"
  end
  ancestors[value] = true
  local list = is_list(value)
  local margin = (" "):rep(list and indent + 2 or indent + 3)
  for key, element in pairs(value) do
    local text = type(element) == "table" and stringify.format(element, indent + 2, ancestors) or scalar(element)
    parts[#parts + 1] = margin .. (list and "" or colors.red .. tostring(key) .. colors.reset .. " = ") .. text
  end
  ancestors[value] = nil
  return "{\n" .. table.concat(parts, ",\n") .. "\n" .. (" "):rep(list and indent + 1 or indent) .. "}"
end

return stringify
