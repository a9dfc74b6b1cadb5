-- Functions on lists that processes know as `Utils`, curried where they take more than one argument.
local matching = require(".matching")
local lists = { _version = "0.0.5", matchesPattern = matching.matchesPattern, matchesSpec = matching.matchesSpec }

-- Whether a table has nothing but the keys 1 to its length.
local function is_list(value)
  if type(value) ~= "table" then return false end
  local last = 0
  for key in pairs(value) do
    if type(key) ~= "number" or key < 1 or key % 1 ~= 0 then return false end
    if key > last then last = key end
  end
  return last == #value
end

local function check_function(value)
  if type(value) ~= "function" then error("first argument should be a function", 3) end
end

local function check_list(value, which)
  if not is_list(value) then error(which .. " argument should be a table that is an array", 3) end
end

-- A function that may be given its `arity` arguments one after the other: as many as it is declared with, if nothing
-- else is said.
function lists.curry(fn, arity)
  if type(fn) ~= "function" then error("function is required as first argument", 2) end
  arity = arity or debug.getinfo(fn, "u").nparams
  if arity < 2 then return fn end
  local function collect(given, count)
    return function(...)
      local more = select("#", ...)
      if count == 0 and more >= arity then return fn(...) end
      local arguments, total = table.move(given, 1, count, 1, {}), count + more
      for place = 1, more do arguments[count + place] = (select(place, ...)) end
      if total >= arity then return fn(table.unpack(arguments, 1, total)) end
      return collect(arguments, total)
    end
  end
  return collect({}, 0)
end

lists.concat = lists.curry(function(first, second)
  check_list(first, "first")
  check_list(second, "second")
  local result = table.move(first, 1, #first, 1, {})
  return table.move(second, 1, #second, #result + 1, result)
end, 2)

-- Without an initial value it starts from the first element.
lists.reduce = lists.curry(function(fn, initial, list)
  check_function(fn)
  check_list(list, "third")
  local result = initial
  for place, value in pairs(list) do
    if result == nil then
      result = value
    else
      result = fn(result, value, place)
    end
  end
  return result
end, 3)

lists.map = lists.curry(function(fn, list)
  check_function(fn)
  check_list(list, "second")
  local result = {}
  for place, value in pairs(list) do result[place] = fn(value, place) end
  return result
end, 2)

lists.filter = lists.curry(function(fn, list)
  check_function(fn)
  check_list(list, "second")
  local result = {}
  for _, value in pairs(list) do
    if fn(value) then result[#result + 1] = value end
  end
  return result
end, 2)

-- The first value that fits, of any table.
lists.find = lists.curry(function(fn, object)
  check_function(fn)
  for _, value in pairs(object) do
    if fn(value) then return value end
  end
end, 2)

lists.propEq = lists.curry(function(name, value, object)
  return object[name] == value
end, 3)

lists.prop = lists.curry(function(name, object)
  return object[name]
end, 2)

lists.includes = lists.curry(function(value, list)
  check_list(list, "second")
  for _, element in pairs(list) do
    if element == value then return true end
  end
  return false
end, 2)

function lists.reverse(list)
  check_list(list, "first")
  local result, length = {}, #list
  for place, value in pairs(list) do result[length - place + 1] = value end
  return result
end

-- The last function is applied first.
lists.compose = lists.curry(function(...)
  local functions = { ... }
  return function(value)
    for place = #functions, 1, -1 do value = functions[place](value) end
    return value
  end
end, 2)

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
  if type(text) ~= "string" then return text end
  return text:sub(1, 1):upper() .. text:sub(2):lower()
end

-- `x_foo-BAR` as `X-Foo-Bar`: how names of tags are read.
function lists.normalize(name)
  if type(name) ~= "string" then return name end
  name = name:lower():gsub("_", "-"):gsub("^%l", string.upper):gsub("%-%l", string.upper)
  return name
end

return lists
