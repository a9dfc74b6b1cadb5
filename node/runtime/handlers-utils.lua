-- Patterns and handlers that are needed often.
local matching = require(".matching")
local utils = { _version = "0.0.2" }

function utils.hasMatchingTag(name, value)
  if type(name) ~= "string" or type(value) ~= "string" then error("name and value must be strings", 2) end
  return function(msg) return msg.Tags[name] == value end
end

function utils.hasMatchingTagOf(name, values)
  if type(name) ~= "string" or type(values) ~= "table" then error("a name and a list of values are needed", 2) end
  return function(msg)
    for _, value in ipairs(values) do
      if msg.Tags[name] == value then return true end
    end
    return false
  end
end

function utils.hasMatchingData(value)
  if type(value) ~= "string" then error("value must be a string", 2) end
  return function(msg) return msg.Data == value end
end

-- A handler that answers with a text, or with a message made of a table.
function utils.reply(input)
  if type(input) ~= "string" and type(input) ~= "table" then error("a string or a table is needed", 2) end
  return function(msg) msg.reply(type(input) == "table" and input or { Data = input }) end
end

-- A pattern that lets the handlers behind it have the message too.
function utils.continue(pattern)
  return function(msg)
    local result = matching.matchesSpec(msg, pattern)
    if not result or result == 0 or result == "skip" then return result end
    return 1
  end
end

return utils
