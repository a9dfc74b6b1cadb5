-- The list of handlers, and who of them gets a message.
local matching = require(".matching")
local Handlers = { _version = "0.0.5", list = {}, coroutines = {}, onceNonce = 0, utils = require(".handlers-utils") }

local function index_of(name)
  for place, handler in ipairs(Handlers.list) do
    if handler.name == name then return place end
  end
end

-- A handler as a function of the message: it may be given as a table from patterns to functions, of which the first
-- that fits runs.
function Handlers.generateResolver(spec)
  if type(spec) == "function" then
    return function(msg) return spec(msg) end
  end
  return function(msg)
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

-- Puts a handler at a place; if there is one of that name it becomes the given one where it is. The one in the list.
local function put(handler, place)
  local listed = Handlers.list[index_of(handler.name)]
  if not listed then
    table.insert(Handlers.list, place, handler)
    return handler
  end
  listed.pattern, listed.handle, listed.maxRuns, listed.waiting = handler.pattern, handler.handle, handler.maxRuns, nil
  return listed
end

function Handlers.add(...)
  put(entry(...), #Handlers.list + 1)
  return #Handlers.list
end

function Handlers.append(...)
  put(entry(...), #Handlers.list + 1)
end

function Handlers.prepend(...)
  put(entry(...), 1)
end

local function put_once(...)
  local name, pattern, handle = ...
  if select("#", ...) == 2 then
    name, pattern, handle = "_once_" .. Handlers.onceNonce, name, pattern
    Handlers.onceNonce = Handlers.onceNonce + 1
  end
  return put(entry(name, pattern, handle, 1), 1)
end

-- A handler that runs once, in front of the others. The name may be left out.
function Handlers.once(...)
  put_once(...)
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
  put_once(pattern, function(msg)
    local resumed, ok, cause = coroutine.resume(waiting, msg)
    if not resumed then error(ok, 0) end
    if ok == false then error(cause, 0) end
  end).waiting = waiting
  return coroutine.yield(pattern)
end

local verdicts = { [true] = -1, [false] = 0, ["continue"] = 1, ["break"] = -1 }

-- What a pattern's answer means: below 0 run and stop, 0 do not run, above 0 run and go on.
local function verdict(result)
  if type(result) == "number" then return result end
  if type(result) == "boolean" or type(result) == "string" then return verdicts[result] or 0 end
  error("Pattern result is not valid, it MUST be string, number, or boolean")
end

local function place_of(handler)
  for place, listed in ipairs(Handlers.list) do
    if listed == handler then return place end
  end
end

local function drop(handler)
  local place = place_of(handler)
  if place then table.remove(Handlers.list, place) end
end

-- As in aos, one that starts at 0 never comes to its last run.
local function count_run(handler)
  if math.type(handler.maxRuns) == nil then return end
  handler.maxRuns = handler.maxRuns - 1
  if handler.maxRuns == 0 then drop(handler) end
end

-- Offers a message to the handlers in order; `_default` gets what nobody stopped at. Handlers may change the list:
-- those that were added meanwhile wait for the next message, those that were removed do not run.
function Handlers.evaluate(msg, env)
  if type(msg) ~= "table" then error("msg is not valid: a table is expected") end
  local default, has_run
  local handlers = table.move(Handlers.list, 1, #Handlers.list, 1, {})
  for place = 1, #handlers do
    local handler = handlers[place]
    local pattern, waiting = handler.pattern, handler.waiting
    if handler.name == "_default" then
      default = handler
    elseif waiting and coroutine.status(waiting) == "dead" then
      -- What it is to wake can't be woken any more: who waits for very long is ended.
      drop(handler)
    else
      local result
      if type(pattern) == "string" then
        result = msg.Action == pattern
      else
        result = matching.matchesSpec(msg, pattern)
      end
      if result ~= false then
        result = verdict(result)
        if result ~= 0 and (not has_run or place_of(handler)) then
          has_run = true
          -- Before it runs: what it waits for may come inside.
          count_run(handler)
          handler.handle(msg, env)
          if result < 0 then return true end
        end
      end
    end
  end
  if default then default.handle(msg, env) end
end

return Handlers
