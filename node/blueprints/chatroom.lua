-- A chatroom: whoever registers gets what the members broadcast.
local json = require("json")

-- Members of a room. A broadcast is a message to each of them, and one evaluation sends at most 1000.
local MAX_MEMBERS = 500
-- Bytes of a broadcast. To every member of a full room it stays within what one evaluation may send, 8 MiB.
local MAX_BROADCAST_BYTES = 8192
-- Characters of a broadcast that the owner's console shows.
local SHOWN = 80

-- A list of addresses, in the order in which they came. Strangers can fill it up to the limit; the owner makes room.
Members = Members or {}

local function answer(msg, fields)
  if msg.reply then return msg.reply(fields) end
  fields.Target = msg.From
  Send(fields)
end

local function fail(msg, action, cause)
  answer(msg, { Action = action, ["Message-Id"] = msg.Id, Error = cause, Data = cause })
end

local function is_member(address)
  for _, member in ipairs(Members) do
    if member == address then return true end
  end
  return false
end

-- The text that a message wants to be broadcast, and its type if it has one; JSON arrives as a table. Nil without any.
local function broadcast_text(data)
  if type(data) == "string" then return data:find("%S") and data end
  if type(data) ~= "table" then return nil end
  -- Not everything that can be read as JSON can be written again.
  local is_written, text = pcall(json.encode, data)
  if is_written then return text, "application/json" end
end

local function show(sender, text)
  print(Colors.gray .. "New broadcast from " .. Colors.green .. sender:sub(1, 3) .. "..." .. sender:sub(-3)
    .. Colors.gray .. ": " .. Colors.reset .. text:sub(1, SHOWN):gsub("%c", " "))
end

Handlers.add("register", "Register", function(msg)
  if is_member(msg.From) then return answer(msg, { Data = "Already registered." }) end
  if #Members >= MAX_MEMBERS then return fail(msg, "Register-Error", "The room is full.") end
  table.insert(Members, msg.From)
  answer(msg, { Data = "Registered." })
end)

Handlers.add("unregister", "Unregister", function(msg)
  if not is_member(msg.From) then return answer(msg, { Data = "Not registered" }) end
  -- From the end, and all: a list from before this file may hold somebody twice.
  for place = #Members, 1, -1 do
    if Members[place] == msg.From then table.remove(Members, place) end
  end
  answer(msg, { Data = "Unregistered" })
end)

Handlers.add("broadcast", "Broadcast", function(msg)
  if not is_member(msg.From) then
    return fail(msg, "Broadcast-Error", "Only members broadcast: send a message with Action = \"Register\" first.")
  end
  local text, content_type = broadcast_text(msg.Data)
  if not text then return fail(msg, "Broadcast-Error", "Data is required: the text to broadcast.") end
  if #text > MAX_BROADCAST_BYTES then
    return fail(msg, "Broadcast-Error", "Data is too long: at most " .. MAX_BROADCAST_BYTES .. " bytes are broadcast.")
  end
  local reached = {}
  for _, member in ipairs(Members) do
    if not reached[member] then
      reached[member] = true
      ao.send {
        Target = member, Action = "Broadcast-Notice", Broadcaster = msg.From,
        ["Content-Type"] = content_type, Data = text,
      }
    end
  end
  show(msg.From, text)
  answer(msg, { Data = "Broadcasted." })
end)
