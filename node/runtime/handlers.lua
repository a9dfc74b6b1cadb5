-- The list of handlers, and who of them gets a message.
local matching = require(".matching")
local Handlers = { _version = "0.0.5", list = {}, coroutines = {}, onceNonce = 0, utils = require(".handlers-utils") }

local function index_of(name)
  for place, handler in ipairs(Handlers.list) do
    if handler.name == name then return place end
  end
end

-- A handler as a function: it may be given as a table from patterns to functions, of which the first that fits runs.
function Handlers.generateResolver(spec)
  return function(msg)
    if type(spec) == "function" then return spec(msg) end
    for pattern, resolver in pairs(spec) do
      if matching.matchesSpec(msg, pattern) then return resolver(msg) end
    end
  end
end

local function check(name, pattern, handle, max_runs)
  if type(name) ~= "string" then error("the handler's name must be a string", 3) end
  local kind = type(pattern)
  if kind ~= "string" and kind ~= "function" and kind ~= "table" then
    error("the pattern must be a string, a function or a table", 3)
  end
  if type(handle) ~= "function" and type(handle) ~= "table" then
    error("the handler must be a function or a table of functions", 3)
  end
  if max_runs ~= nil and math.type(max_runs) == nil and max_runs ~= "inf" then
    error("maxRuns must be a number or \"inf\"", 3)
  end
end

-- Arguments as they are given: (name, handle) has the name as the pattern too.
local function entry(...)
  local name, pattern, handle, max_runs = ...
  if select("#", ...) == 2 then pattern, handle = name, pattern end
  check(name, pattern, handle, max_runs)
  return { name = name, pattern = pattern, handle = Handlers.generateResolver(handle), maxRuns = max_runs }
end

-- Puts a handler at a place, or in place of the one of that name.
local function put(handler, place)
  local existing = index_of(handler.name)
  if existing then
    Handlers.list[existing] = handler
  else
    table.insert(Handlers.list, place, handler)
  end
  return #Handlers.list
end

function Handlers.add(...)
  return put(entry(...), #Handlers.list + 1)
end

function Handlers.append(...)
  put(entry(...), #Handlers.list + 1)
end

function Handlers.prepend(...)
  put(entry(...), 1)
end

-- A handler that runs once, in front of the others. The name may be left out.
function Handlers.once(...)
  local name, pattern, handle = ...
  if select("#", ...) == 2 then
    name, pattern, handle = "_once_" .. Handlers.onceNonce, name, pattern
    Handlers.onceNonce = Handlers.onceNonce + 1
  end
  Handlers.prepend(name, pattern, handle, 1)
end

local function beside(name, offset)
  return {
    add = function(...)
      local handler, place = entry(...), index_of(name)
      if place then table.insert(Handlers.list, place + offset, handler) end
    end,
  }
end

function Handlers.before(name)
  return beside(name, 0)
end

function Handlers.after(name)
  return beside(name, 1)
end

function Handlers.remove(name)
  local place = index_of(name)
  if place then table.remove(Handlers.list, place) end
end

-- Waits for a message that fits: the evaluation pauses here and goes on inside that later message.
function Handlers.receive(pattern)
  local waiting = coroutine.running()
  Handlers.once(pattern, function(msg)
    local resumed, ok, cause = coroutine.resume(waiting, msg)
    if not resumed then error(ok, 0) end
    if ok == false then error(cause, 0) end
  end)
  Handlers.list[1].waiting = waiting
  return coroutine.yield(pattern)
end

-- What a pattern's answer means: below 0 run and stop, 0 do not run, above 0 run and go on.
local function verdict(result)
  if type(result) == "number" then return result end
  if type(result) == "boolean" then return result and -1 or 0 end
  if type(result) == "string" then return ({ ["continue"] = 1, ["break"] = -1 })[result] or 0 end
  error("Pattern result is not valid, it MUST be string, number, or boolean")
end

local function is_listed(handler)
  for _, listed in ipairs(Handlers.list) do
    if listed == handler then return true end
  end
  return false
end

local function drop(handler)
  for place, listed in ipairs(Handlers.list) do
    if listed == handler then return table.remove(Handlers.list, place) end
  end
end

local function count_run(handler)
  if math.type(handler.maxRuns) == nil then return end
  handler.maxRuns = handler.maxRuns - 1
  if handler.maxRuns <= 0 then drop(handler) end
end

-- Whether what a handler is to wake can't be woken any more: who waits for very long is ended.
local function is_void(handler)
  return handler.waiting ~= nil and coroutine.status(handler.waiting) == "dead"
end

-- Offers a message to the handlers in order; `_default` gets what nobody stopped at. Handlers may change the list:
-- those that were added meanwhile wait for the next message, those that were removed do not run.
function Handlers.evaluate(msg, env)
  if type(msg) ~= "table" then error("msg is not valid: a table is expected") end
  local default
  for _, handler in ipairs(table.move(Handlers.list, 1, #Handlers.list, 1, {})) do
    if handler.name == "_default" then
      default = handler
    elseif is_void(handler) then
      drop(handler)
    elseif is_listed(handler) then
      local result = verdict(matching.matchesSpec(msg, handler.pattern))
      if result ~= 0 then
        -- Before it runs: what it waits for may come inside.
        count_run(handler)
        handler.handle(msg, env)
        if result < 0 then return true end
      end
    end
  end
  if default then default.handle(msg, env) end
end

return Handlers
