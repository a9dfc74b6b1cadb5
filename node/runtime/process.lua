-- One message from start to result.
local json = require("json")
local ao = require("ao")
local colors = require(".colors")
local dump = require(".dump")
local stringify = require(".stringify")
local prepare, attach_answers, built_in = require(".message"), require(".answers"), require(".built-in")

require(".assignment").init(ao)
require(".chance")

_G.json, base64 = json, require(".base64")
Handlers = require(".handlers")
Utils = require(".utils")
Colors = colors
Dump = dump
Bell = "\x07"

local process = { _version = "2.0.4" }

-- Messages that the inbox holds; then the oldest is dropped.
local INBOX_CAPACITY = 10000

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
  if not msg.Target then
    print("WARN: No target specified for message. Data will be stored, but no process will receive it.")
  end
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

local function insert_into_inbox(msg)
  table.insert(Inbox, msg)
  while #Inbox > INBOX_CAPACITY do table.remove(Inbox, 1) end
end

local function seed_of(msg)
  local sum = 0
  local text = tostring(msg.Owner) .. tostring(msg.Module or ao._module) .. tostring(msg.Id)
  for place = 1, #text do sum = sum + text:byte(place) end
  return tonumber((tostring(msg["Block-Height"]):match("%d+") or "0") .. tostring(sum))
end

-- Whether the process has an owner already, or gave it up: programs can't make this forgotten.
local is_owned = false

-- The owner is the one who spawned the process, by the process itself: not whoever happens to come first.
local function initialize(msg)
  local tags = ao.env.Process.Tags
  if not is_owned then
    Owner = Owner or tags["From-Process"] or ao.env.Process.Owner
    is_owned = true
  end
  if not Seeded then
    math.randomseed(seed_of(msg))
    Seeded = true
  end
  Inbox, Errors = Inbox or {}, Errors or {}
  Name = Name or tags.Name or "aos"
end

-- Whether a message is a line of the owner's, as consoles send it today and as those of 2023 did.
local function is_eval(msg)
  return (msg.Action == "Eval" or msg.Function == "eval" and msg.Expression ~= nil) and Owner == msg.From
end

local function is_boot(msg)
  return msg.Tags.Type == "Process" and Owner == msg.From
end

local install_eval = built_in("_eval", is_eval, require(".eval")(ao))
local install_default = built_in("_default", function() return true end, require(".default")(insert_into_inbox))
local boot = require(".boot")(ao)

local function with_trace(cause)
  if type(cause) ~= "string" then return cause end
  return { text = cause, trace = debug.traceback(nil, 2) }
end

local function run_handlers(msg)
  return xpcall(Handlers.evaluate, with_trace, msg, ao.env)
end

-- Runs the handlers in a coroutine, so that they can wait for other messages. Returns what went wrong.
local function evaluate(msg)
  local co = coroutine.create(run_handlers)
  local resumed, ok, cause = coroutine.resume(co, msg)
  local waiting = Handlers.coroutines
  for place = #waiting, 1, -1 do
    if coroutine.status(waiting[place]) == "dead" then table.remove(waiting, place) end
  end
  if coroutine.status(co) == "suspended" then table.insert(waiting, co) end
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
  if msg.Action == "Eval" then return { data = text, prompt = prompt, test = dump(HANDLER_PRINT_LOGS) } end
  return { data = { output = text, prompt = prompt:gsub("> $", ""), json = "" }, prompt = prompt }
end

-- The owner sees what went wrong with a line of theirs; of other messages also which one it was, and where.
local function failure(msg, cause)
  local text, trace = cause, nil
  if type(cause) == "table" and cause.text then text, trace = cause.text, cause.trace end
  text = type(text) == "table" and dump(text) or tostring(text)
  if not is_eval(msg) then
    local which = msg.Action and "with Action = " .. tostring(msg.Action) or ""
    print(colors.red .. "Error" .. colors.gray .. " handling message " .. which .. colors.reset)
    print(colors.green .. text .. colors.reset)
    if trace then print("\n" .. colors.gray .. trace .. colors.reset) end
  end
  return { Error = printed() .. "\n\n" .. colors.red .. "error:\n" .. colors.reset .. text }
end

local function show_ended(places)
  for _, place in ipairs(places) do
    print(colors.red .. "Waited for too long and was ended: " .. colors.reset .. place)
  end
end

-- The environment may be given in a table of its own.
function process.handle(msg, env)
  ao.init(env.Process and env or env.env)
  HANDLER_PRINT_LOGS = {}
  if ao.env.Ended then show_ended(ao.env.Ended) end
  -- Before tags can say otherwise.
  local is_own_message, nonce = msg.Id == ao.id, msg.Nonce
  prepare(msg)
  initialize(msg)
  if msg.Tags["Content-Type"] == "application/json" then msg.Data = json.decode(msg.Data or "{}") end
  if msg.From ~= msg.Owner and not ao.isTrusted(msg) then
    print("Message is not trusted! From: " .. tostring(msg.From) .. " - Owner: " .. tostring(msg.Owner))
    return ao.result { Output = output() }
  end
  if ao.isAssignment(msg) and not ao.isAssignable(msg) then
    if msg.From ~= ao.id then Send { Target = msg.From, Data = "Assignment is not trusted by this process!" } end
    print("Assignment is not trusted! From: " .. tostring(msg.From) .. " - Owner: " .. tostring(msg.Owner))
    return ao.result { Output = output() }
  end
  install_eval()
  if is_own_message and is_boot(msg) then Handlers.once("_boot", is_boot, boot) end
  install_default()
  attach_answers(msg)
  local cause = evaluate(msg)
  if cause ~= nil then return failure(msg, cause) end
  ao.Nonce = nonce
  return ao.result { Output = is_eval(msg) and evaluated(msg) or output() }
end

function handle(msg, env)
  return process.handle(msg, env)
end

apm = require(".apm")

return process
