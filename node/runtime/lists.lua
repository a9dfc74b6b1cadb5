-- Functions on lists that processes know as `Utils`, curried where they take more than one argument.
local matching = require(".matching")
local lists = { _version = "0.0.5", matchesPattern = matching.matchesPattern, matchesSpec = matching.matchesSpec }

local function check_list(value, name)
  if type(value) ~= "table" then error("first argument of " .. name .. " should be a table that is an array", 3) end
end

-- A function that may be given its `arity` arguments one after the other.
function lists.curry(fn, arity)
  arity = arity or 2
  if type(fn) ~= "function" then error("function is required as first argument", 2) end
  local function collect(given, count)
    return function(...)
      local arguments, total = { table.unpack(given, 1, count) }, count + select("#", ...)
      for place = 1, select("#", ...) do arguments[count + place] = (select(place, ...)) end
      if total >= arity then return fn(table.unpack(arguments, 1, total)) end
      return collect(arguments, total)
    end
  end
  return arity < 2 and fn or collect({}, 0)
end

lists.concat = lists.curry(function(first, second)
  local result = {}
  for _, value in ipairs(first) do result[#result + 1] = value end
  for _, value in ipairs(second) do result[#result + 1] = value end
  return result
end)

lists.reduce = lists.curry(function(fn, initial, list)
  check_list(list, "reduce")
  local result = initial
  for place, value in ipairs(list) do result = fn(result, value, place) end
  return result
end, 3)

lists.map = lists.curry(function(fn, list)
  check_list(list, "map")
  local result = {}
  for place, value in ipairs(list) do result[place] = fn(value, place) end
  return result
end)

lists.filter = lists.curry(function(fn, list)
  check_list(list, "filter")
  local result = {}
  for _, value in ipairs(list) do
    if fn(value) then result[#result + 1] = value end
  end
  return result
end)

lists.find = lists.curry(function(fn, list)
  check_list(list, "find")
  for _, value in ipairs(list) do
    if fn(value) then return value end
  end
end)

lists.propEq = lists.curry(function(name, value, object)
  return object[name] == value
end, 3)

lists.prop = lists.curry(function(name, object)
  return object[name]
end)

lists.includes = lists.curry(function(value, list)
  check_list(list, "includes")
  for _, element in ipairs(list) do
    if element == value then return true end
  end
  return false
end)

function lists.reverse(list)
  check_list(list, "reverse")
  local result = {}
  for place = #list, 1, -1 do result[#result + 1] = list[place] end
  return result
end

-- The last function is applied first.
function lists.compose(...)
  local functions = { ... }
  return function(value)
    for place = #functions, 1, -1 do value = functions[place](value) end
    return value
  end
end

function lists.keys(object)
  local result = {}
  for key in pairs(object) do result[#result + 1] = key end
  return result
end

function lists.values(object)
  local result = {}
  for _, value in pairs(object) do result[#result + 1] = value end
  return result
end

function lists.capitalize(text)
  return (text:lower():gsub("^%a", string.upper))
end

-- `x_foo-BAR` as `X-Foo-Bar`: how names of fields and tags are read.
function lists.normalize(name)
  local parts = {}
  for part in name:gsub("_", "-"):gmatch("[^-]+") do parts[#parts + 1] = lists.capitalize(part) end
  return table.concat(parts, "-")
end

return lists
