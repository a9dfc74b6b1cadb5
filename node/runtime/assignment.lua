-- Which messages that are addressed to others this process takes when they are assigned to it: none by default.
local ao = require("ao")
local matching = require(".matching")

-- Adds a pattern, or replaces the one of that name.
function ao.addAssignable(...)
  local name, spec = ...
  if select("#", ...) == 1 then name, spec = nil, name end
  if name ~= nil and type(name) ~= "string" then error("the name must be a string", 2) end
  for _, assignable in ipairs(ao.assignables) do
    if name ~= nil and assignable.name == name then
      assignable.pattern = spec
      return
    end
  end
  table.insert(ao.assignables, { name = name, pattern = spec })
end

function ao.removeAssignable(name_or_index)
  if type(name_or_index) == "number" then return table.remove(ao.assignables, name_or_index) end
  for place, assignable in ipairs(ao.assignables) do
    if assignable.name == name_or_index then return table.remove(ao.assignables, place) end
  end
end

function ao.isAssignment(msg)
  return msg.Target ~= ao.id
end

function ao.isAssignable(msg)
  for _, assignable in ipairs(ao.assignables) do
    local result = matching.matchesSpec(msg, assignable.pattern)
    if result and result ~= 0 and result ~= "skip" then return true end
  end
  return false
end

return ao
