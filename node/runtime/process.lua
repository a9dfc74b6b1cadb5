-- One message from start to result.
local json = require("json")
local ao = require(".assignment")
local colors = require(".colors")
local dump = require(".dump")
local stringify = require(".stringify")
local eval, boot, default = require(".eval"), require(".boot"), require(".default")

Handlers = require(".handlers")
Utils = require(".utils")
Colors = colors
Dump = dump.inspect
Bell = "\x07"

local process = { _version = "2.0.4" }

-- What was printed while this message was evaluated.
HANDLER_PRINT_LOGS = {}

local function shown(value)
  if value == nil then return colors.red .. "nil" .. colors.reset end
  if type(value) == "boolean" then return colors.blue .. tostring(value) .. colors.reset end
  if type(value) == "number" then return colors.green .. tostring(value) .. colors.reset end
  if type(value) == "table" then return stringify.format(value) end
  return tostring(value)
end

function print(...)
  local parts = { shown((...)) }
  for place = 2, select("#", ...) do parts[place] = shown((select(place, ...))) end
  table.insert(HANDLER_PRINT_LOGS, table.concat(parts, "\t"))
end

function Prompt()
  return colors.green .. Name .. colors.gray .. "@" .. colors.blue .. "aos-" .. process._version .. colors.gray
    .. "[Inbox:" .. colors.red .. tostring(#Inbox) .. colors.gray .. "]" .. colors.reset .. "> "
end

function Version()
  print("version: " .. process._version)
end

function Send(msg)
  if not msg.Target then print("WARN: No target specified for message. Data will be stored, but no process will receive it.") end
  local sent = ao.send(msg)
  return { output = "Message added to outbox", receive = sent.receive, onReply = sent.onReply }
end

function Spawn(...)
  local module, msg = ...
  if select("#", ...) == 1 then module, msg = ao._module, module end
  local spawned = ao.spawn(module, msg or {})
  return { output = "Spawn process request added to outbox", receive = spawned.receive, onReply = spawned.onReply }
end

function Assign(assignment)
  ao.assign(assignment)
  print("Assignment added to outbox.")
  return "Assignment added to outbox."
end

function Receive(pattern)
  return Handlers.receive(pattern)
end

local function seed_of(msg)
  local sum = 0
  local text = tostring(msg.Owner) .. tostring(msg.Module or ao._module) .. tostring(msg.Id)
  for place = 1, #text do sum = sum + text:byte(place) end
  return tonumber((tostring(msg["Block-Height"]):match("%d+") or "0") .. tostring(sum))
end

-- The owner is the one who spawned the process, by the process itself: not whoever happens to come first.
local function initialize(msg)
  if not Seeded then
    math.randomseed(seed_of(msg))
    Seeded = true
  end
  Inbox, Errors = Inbox or {}, Errors or {}
  local env = ao.env.Process
  Owner = Owner or env.Tags["From-Process"] or env.Owner
  Name = Name or env.Tags.Name or "aos"
end

local function attach_answers(msg)
  function msg.reply(answer)
    local reply = {}
    for key, value in pairs(answer) do reply[key] = value end
    reply.Target = msg["Reply-To"] or answer.Target or msg.From
    reply["X-Reference"] = msg["X-Reference"] or msg.Reference
    reply["X-Origin"] = msg["X-Origin"]
    return ao.send(reply)
  end
  function msg.forward(target, extra)
    local forwarded = ao.sanitize(msg)
    for key, value in pairs(extra or {}) do forwarded[key] = value end
    forwarded.Target = target
    forwarded["Reply-To"] = msg["Reply-To"] or msg.From
    forwarded["X-Reference"] = msg["X-Reference"] or msg.Reference
    forwarded["X-Origin"] = msg["X-Origin"] or msg.From
    return ao.send(forwarded)
  end
end

-- Whether a message is a line of the owner's, as consoles send it today and as those of 2023 did.
local function is_eval(msg)
  return (msg.Action == "Eval" or msg.Function == "eval" and msg.Expression ~= nil) and Owner == msg.From
end

local function install_handlers(msg)
  Handlers.add("_eval", is_eval, eval(ao))
  if msg.Tags.Type == "Process" and Owner == msg.From then
    Handlers.once("_boot", function(other) return other.Tags.Type == "Process" and Owner == other.From end, boot(ao))
  end
  Handlers.append("_default", function() return true end, default)
end

-- Runs the handlers in a coroutine, so that they can wait for other messages.
local function evaluate(msg)
  local co = coroutine.create(function() return xpcall(Handlers.evaluate, function(cause)
    if type(cause) ~= "string" then return cause end
    return { text = cause, trace = debug.traceback("", 2) }
  end, msg, ao.env) end)
  local resumed, ok, cause = coroutine.resume(co)
  local waiting = {}
  for _, other in ipairs(Handlers.coroutines) do
    if coroutine.status(other) == "suspended" then table.insert(waiting, other) end
  end
  if coroutine.status(co) == "suspended" then table.insert(waiting, co) end
  Handlers.coroutines = waiting
  if not resumed then return ok end
  if ok == false then return cause or "error without a cause" end
end

local function printed()
  return table.concat(HANDLER_PRINT_LOGS, "\n")
end

local function output()
  return { data = printed(), prompt = Prompt(), print = true }
end

-- What an Eval came to. Consoles of 2023 look for text and prompt in the data, and add the end of the prompt.
local function evaluated(msg)
  local text, prompt = printed(), Prompt()
  if msg.Action == "Eval" then return { data = text, prompt = prompt, test = Dump(HANDLER_PRINT_LOGS) } end
  return { data = { output = text, prompt = prompt:gsub("> $", ""), json = "" }, prompt = prompt }
end

local function failure(msg, cause)
  local text, trace = cause, nil
  if type(cause) == "table" and cause.text then text, trace = cause.text, cause.trace end
  if type(text) ~= "string" then text = dump.inspect(text) end
  local parts = { printed(), "\n\n", colors.red, "error:\n", colors.reset, text }
  if not is_eval(msg) and trace then table.insert(parts, trace) end
  return { Error = table.concat(parts) }
end

function process.handle(msg)
  HANDLER_PRINT_LOGS = {}
  for _, place in ipairs(ao.env.Ended or {}) do
    print(colors.red .. "Waited for too long and was ended: " .. colors.reset .. place)
  end
  msg = ao.normalize(msg)
  initialize(msg)
  if msg["Content-Type"] == "application/json" and type(msg.Data) == "string" then msg.Data = json.decode(msg.Data) end
  if msg.From ~= msg.Owner and not ao.isTrusted(msg) then
    print("Message is not trusted! From: " .. tostring(msg.From) .. " - Owner: " .. tostring(msg.Owner))
    return ao.result { Output = output() }
  end
  if ao.isAssignment(msg) and not ao.isAssignable(msg) then
    if msg.From ~= ao.id then Send { Target = msg.From, Data = "Assignment is not trusted by this process!" } end
    print("Assignment is not trusted! From: " .. tostring(msg.From) .. " - Owner: " .. tostring(msg.Owner))
    return ao.result { Output = output() }
  end
  install_handlers(msg)
  attach_answers(msg)
  local cause = evaluate(msg)
  if cause ~= nil then return failure(msg, cause) end
  if is_eval(msg) then return ao.result { Output = evaluated(msg) } end
  return ao.result { Output = output() }
end

function handle(msg, env)
  ao.init(env)
  return process.handle(msg)
end

return process
