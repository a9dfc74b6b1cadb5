-- The `ao` table: who this process is, whom it trusts, and its outbox.
local json = require("json")
local Handlers = require(".handlers")
local Utils = require(".utils")

ao = ao or {
  _version = "0.0.6", id = "", _module = "", authorities = {}, reference = 0,
  outbox = { Output = {}, Messages = {}, Spawns = {}, Assignments = {} },
  assignables = {}, env = {},
}

local function set_of(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

-- Tags that do not become fields of the message: they are its own fields or the network's business.
local kept_as_tags = set_of {
  "Data-Protocol", "Variant", "From-Process", "From-Module", "Type", "From", "Owner", "Anchor", "Target", "Data",
  "Tags", "Read-Only",
}
-- Fields that belong to a message's way here and not to what it says.
local not_forwarded = set_of {
  "Data-Protocol", "Variant", "From-Process", "From-Module", "Type", "From", "Owner", "Anchor", "Target", "Tags",
  "TagArray", "Hash-Chain", "Timestamp", "Nonce", "Epoch", "Signature", "Forwarded-By", "Pushed-For", "Read-Only",
  "Cron", "Block-Height", "Reference", "Id", "Reply-To",
}
-- Fields of a message to be sent that do not become tags.
local not_tags = set_of { "Target", "Data", "Anchor", "Tags", "TagArray" }

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

-- A message with names in title case and its tags as fields; of equal names the last counts there.
function ao.normalize(msg)
  local normal = {}
  for key, value in pairs(msg) do normal[Utils.normalize(key)] = value end
  normal.Tags = {}
  for place, tag in ipairs(msg.Tags or {}) do
    normal.Tags[place] = { name = Utils.normalize(tag.name), value = tag.value }
  end
  for _, tag in ipairs(normal.Tags) do
    if not kept_as_tags[tag.name] then normal[tag.name] = tag.value end
  end
  normal.TagArray = normal.Tags
  normal.Tags = Tab(normal)
  return normal
end

function ao.sanitize(msg)
  local rest = {}
  for key, value in pairs(msg) do
    if not not_forwarded[key] and type(value) ~= "function" then rest[key] = value end
  end
  return rest
end

function ao.init(env)
  ao.id = env.Process.Id
  for _, tag in ipairs(env.Process.Tags) do
    if tag.name == "Module" and ao._module == "" then ao._module = tag.value end
    if tag.name == "Authority" then
      for address in tag.value:gmatch("[^,%s]+") do
        if not Utils.includes(address, ao.authorities) then table.insert(ao.authorities, address) end
      end
    end
  end
  ao.clearOutbox()
  ao.env = env
  env.Process.TagArray = env.Process.Tags
  env.Process.Tags = Tab(env.Process)
end

function ao.clearOutbox()
  ao.outbox = { Output = {}, Messages = {}, Spawns = {}, Assignments = {} }
end

function ao.log(text)
  if type(ao.outbox.Output) == "string" then ao.outbox.Output = { ao.outbox.Output } end
  table.insert(ao.outbox.Output, text)
end

-- Appends what a message to be sent says beyond its fixed tags: its other fields, then its Tags.
local function add_own_tags(tags, msg)
  for key, value in pairs(msg) do
    if not not_tags[key] and type(value) ~= "function" then table.insert(tags, { name = key, value = value }) end
  end
  if type(msg.Tags) ~= "table" then return end
  if msg.Tags[1] ~= nil then
    for _, tag in ipairs(msg.Tags) do table.insert(tags, tag) end
  else
    for key, value in pairs(msg.Tags) do table.insert(tags, { name = key, value = value }) end
  end
end

-- The next entry of the outbox. Its reference is its number in the life of the process.
local function new_entry(tags)
  ao.reference = ao.reference + 1
  local reference = tostring(ao.reference)
  table.insert(tags, { name = "Reference", value = reference })
  return { Anchor = ("0"):rep(32 - #reference) .. reference, Tags = tags }, reference
end

-- What the sender gets to hold: the entry and ways to wait for the answer. A copy: the outbox holds data only.
local function with_answers(entry, pattern_for)
  local handle = {}
  for key, value in pairs(entry) do handle[key] = value end
  function handle.onReply(...)
    local from, resolver = ...
    if select("#", ...) < 2 then from, resolver = nil, from end
    Handlers.once(pattern_for(from), resolver)
  end
  function handle.receive(from)
    return Handlers.receive(pattern_for(from))
  end
  return handle
end

function ao.send(msg)
  if type(msg) ~= "table" then error("msg should be a table", 2) end
  local entry, reference = new_entry {
    { name = "Data-Protocol", value = "ao" },
    { name = "Variant", value = "ao.TN.1" },
    { name = "Type", value = "Message" },
  }
  entry.Target, entry.Data = msg.Target, msg.Data
  if type(msg.Data) == "table" then
    entry.Data = json.encode(msg.Data)
    table.insert(entry.Tags, { name = "Content-Type", value = "application/json" })
  end
  add_own_tags(entry.Tags, msg)
  table.insert(ao.outbox.Messages, entry)
  return with_answers(entry, function(from)
    return { From = from or msg.Target, ["X-Reference"] = reference }
  end)
end

function ao.spawn(module, msg)
  if type(module) ~= "string" then error("module must be the id of a module", 2) end
  if type(msg) ~= "table" then error("msg should be a table", 2) end
  local entry, reference = new_entry {
    { name = "Data-Protocol", value = "ao" },
    { name = "Variant", value = "ao.TN.1" },
    { name = "Type", value = "Process" },
    { name = "From-Process", value = ao.id },
    { name = "From-Module", value = ao._module },
    { name = "Module", value = module },
  }
  entry.Data = msg.Data or "NODATA"
  add_own_tags(entry.Tags, msg)
  table.insert(ao.outbox.Spawns, entry)
  return with_answers(entry, function()
    return { Action = "Spawned", From = ao.id, Reference = reference }
  end)
end

function ao.assign(assignment)
  if type(assignment) ~= "table" then error("assignment should be a table", 2) end
  if type(assignment.Processes) ~= "table" then error("Processes should be a list of process ids", 2) end
  if type(assignment.Message) ~= "string" then error("Message should be the id of a message", 2) end
  table.insert(ao.outbox.Assignments, assignment)
end

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
