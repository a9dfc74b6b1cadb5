-- The `ao` table: who this process is, whom it trusts, and its outbox.
local json = require("json")
local name_set = require(".name-set")
local Handlers = require(".handlers")

ao = ao or {
  _version = "0.0.6", id = "", _module = "", authorities = {}, reference = 0,
  outbox = { Output = {}, Messages = {}, Spawns = {}, Assignments = {} },
  env = {},
}

-- Tags that do not become fields of the message: they are its own fields or the network's business.
ao.nonExtractableTags = {
  "Data-Protocol", "Variant", "From-Process", "From-Module", "Type", "From", "Owner", "Anchor", "Target", "Data",
  "Tags", "Read-Only",
}
-- Fields that belong to a message's way here and not to what it says.
ao.nonForwardableTags = {
  "Data-Protocol", "Variant", "From-Process", "From-Module", "Type", "From", "Owner", "Anchor", "Target", "Tags",
  "TagArray", "Hash-Chain", "Timestamp", "Nonce", "Epoch", "Signature", "Forwarded-By", "Pushed-For", "Read-Only",
  "Cron", "Block-Height", "Reference", "Id", "Reply-To",
}
local kept_as_tags, not_forwarded = name_set(), name_set()
-- Fields of a message to be sent that do not become tags.
local not_tags = { Target = true, Data = true, Anchor = true, Tags = true, TagArray = true, From = true }
-- Digits of an anchor.
local ZEROS = ("0"):rep(32)

-- Data of the permaweb that the spawn of this process or an assignment to it named: its `size`, and `:read(offset, n)`.
ao.data = require("ao.data")

function ao.clone(value, seen)
  if type(value) ~= "table" then return value end
  seen = seen or {}
  if seen[value] then return seen[value] end
  local copy = {}
  seen[value] = copy
  for key, element in pairs(value) do copy[ao.clone(key, seen)] = ao.clone(element, seen) end
  return setmetatable(copy, getmetatable(value))
end

-- Tags as a table by name; of equal names the first counts.
function Tab(msg)
  local tags = {}
  for _, tag in ipairs(msg.Tags) do
    if tags[tag.name] == nil then tags[tag.name] = tag.value end
  end
  return tags
end

-- Makes fields of a message's list of tags. A message as handlers get it has them already, and no list.
function ao.normalize(msg)
  local kept = kept_as_tags(ao.nonExtractableTags)
  for _, tag in ipairs(msg.Tags) do
    if not kept[tag.name] then msg[tag.name] = tag.value end
  end
  return msg
end

function ao.sanitize(msg)
  local rest, left_out = {}, not_forwarded(ao.nonForwardableTags)
  for key, value in pairs(msg) do
    if not left_out[key] and type(value) ~= "function" then rest[key] = ao.clone(value) end
  end
  return rest
end

-- Trusts an address, if it is not trusted yet.
local function trust(address)
  local authorities = ao.authorities
  for place = 1, #authorities do
    if authorities[place] == address then return end
  end
  authorities[#authorities + 1] = address
end

function ao.init(env)
  local process = env.Process
  local list, tags = process.Tags, {}
  for place = 1, #list do
    local tag = list[place]
    local name, value = tag.name, tag.value
    if name == "Authority" then
      if value:find("[,%s]") then
        for address in value:gmatch("[^,%s]+") do trust(address) end
      elseif value ~= "" then
        trust(value)
      end
    end
    if tags[name] == nil then tags[name] = value end
  end
  process.TagArray, process.Tags = list, tags
  ao.id, ao.env = process.Id, env
  if ao._module == "" then ao._module = tags.Module or "" end
  ao.clearOutbox()
end

function ao.clearOutbox()
  ao.outbox = { Output = {}, Messages = {}, Spawns = {}, Assignments = {} }
end

function ao.log(text)
  if type(ao.outbox.Output) == "string" then ao.outbox.Output = { ao.outbox.Output } end
  table.insert(ao.outbox.Output, text)
end

-- The next number in the life of the process, by which answers refer to what is sent, and an anchor made of it.
local function next_reference()
  ao.reference = ao.reference + 1
  local reference = tostring(ao.reference)
  return reference, ZEROS:sub(#reference + 1) .. reference
end

-- Appends what a message to be sent says beyond its fixed tags: its other fields, then its Tags. `is_json` says that
-- its data has become JSON: then that is its type, whatever type it was given.
local function add_own_tags(tags, msg, is_json)
  local count = #tags
  if is_json then
    count = count + 1
    tags[count] = { name = "Content-Type", value = "application/json" }
  end
  for key, value in pairs(msg) do
    if not not_tags[key] and type(value) ~= "function" and not (is_json and key == "Content-Type") then
      count = count + 1
      tags[count] = { name = key, value = value }
    end
  end
  local given = msg.Tags
  if type(given) ~= "table" then return end
  if given[1] ~= nil then
    for _, tag in ipairs(given) do
      if not (is_json and tag.name == "Content-Type") then
        count = count + 1
        tags[count] = tag
      end
    end
  else
    for key, value in pairs(given) do
      if not (is_json and key == "Content-Type") then
        count = count + 1
        tags[count] = { name = key, value = value }
      end
    end
  end
end

-- The data of a message to be sent, and whether it was a table and is JSON now.
local function data_of(msg)
  local data = msg.Data
  if type(data) == "table" then return json.encode(data), true end
  return data, false
end

-- What is returned is not the entry of the outbox, which holds data only: it can wait for answers too.
function ao.send(msg)
  if type(msg) ~= "table" then error("msg should be a table", 2) end
  local data, is_json = data_of(msg)
  local target, reference, anchor = msg.Target, next_reference()
  local tags = {
    { name = "Data-Protocol", value = "ao" },
    { name = "Variant", value = "ao.TN.1" },
    { name = "Type", value = "Message" },
    { name = "Reference", value = reference },
  }
  add_own_tags(tags, msg, is_json)
  local messages = ao.outbox.Messages
  messages[#messages + 1] = { Target = target, Data = data, Anchor = anchor, Tags = tags }
  return {
    Target = target, Data = data, Anchor = anchor, Tags = tags,
    onReply = function(...)
      local from, resolver = ...
      if select("#", ...) < 2 then from, resolver = nil, from end
      Handlers.once({ From = from or target, ["X-Reference"] = reference }, resolver)
    end,
    receive = function(from)
      return Handlers.receive({ From = from or target, ["X-Reference"] = reference })
    end,
  }
end

function ao.spawn(module, msg)
  if type(module) ~= "string" then error("module must be the id of a module", 2) end
  if type(msg) ~= "table" then error("msg should be a table", 2) end
  local data, is_json = data_of(msg)
  local reference, anchor = next_reference()
  data = data or "NODATA"
  local tags = {
    { name = "Data-Protocol", value = "ao" },
    { name = "Variant", value = "ao.TN.1" },
    { name = "Type", value = "Process" },
    { name = "From-Process", value = ao.id },
    { name = "From-Module", value = ao._module },
    { name = "Module", value = module },
    { name = "Reference", value = reference },
  }
  add_own_tags(tags, msg, is_json)
  table.insert(ao.outbox.Spawns, { Data = data, Anchor = anchor, Tags = tags })
  local function answer()
    return { Action = "Spawned", From = ao.id, Reference = reference }
  end
  return {
    Data = data, Anchor = anchor, Tags = tags,
    onReply = function(resolver) Handlers.once(answer(), resolver) end,
    receive = function() return Handlers.receive(answer()) end,
  }
end

function ao.assign(assignment)
  if type(assignment) ~= "table" then error("assignment should be a table", 2) end
  if type(assignment.Processes) ~= "table" then error("Processes should be a list of process ids", 2) end
  if type(assignment.Message) ~= "string" then error("Message should be the id of a message", 2) end
  table.insert(ao.outbox.Assignments, assignment)
end

-- HyperBEAM's hints of where a process is computed: programs may give one, and as in aos 2.0.4 none is kept.
function ao.registerHint() end

-- Whether a message comes from, or was pushed by, an authority of this process.
function ao.isTrusted(msg)
  for _, authority in ipairs(ao.authorities) do
    if msg.From == authority or msg.Owner == authority then return true end
  end
  return false
end

function ao.result(result)
  if ao.outbox.Error or result.Error then return { Error = result.Error or ao.outbox.Error } end
  return {
    Output = result.Output or ao.outbox.Output,
    Messages = ao.outbox.Messages, Spawns = ao.outbox.Spawns, Assignments = ao.outbox.Assignments,
  }
end

return ao
