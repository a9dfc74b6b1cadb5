-- Which messages that are addressed to others this process takes when they are assigned to it: none by default.
local matching = require(".matching")
local assignment = { _version = "0.1.0" }

-- Gives the `ao` table what it does not have of this.
function assignment.init(ao)
  ao.assignables = ao.assignables or {}

  local function place_of(name)
    for place, assignable in ipairs(ao.assignables) do
      if assignable.name == name then return place end
    end
  end

  -- Adds a pattern, or replaces the one of that name.
  ao.addAssignable = ao.addAssignable or function(...)
    local name, spec = ...
    if select("#", ...) == 1 then name, spec = nil, name end
    if name ~= nil and type(name) ~= "string" then error("the name must be a string", 2) end
    local place = name and place_of(name)
    if place then
      ao.assignables[place].pattern = spec
    else
      table.insert(ao.assignables, { name = name, pattern = spec })
    end
  end

  ao.removeAssignable = ao.removeAssignable or function(name_or_place)
    local place = name_or_place
    if type(place) == "string" then
      place = place_of(place)
    elseif type(place) ~= "number" then
      error("a name or a number is needed", 2)
    end
    if place and ao.assignables[place] then table.remove(ao.assignables, place) end
  end

  ao.isAssignment = ao.isAssignment or function(msg)
    return msg.Target ~= ao.id
  end

  ao.isAssignable = ao.isAssignable or function(msg)
    for _, assignable in ipairs(ao.assignables) do
      local result = matching.matchesSpec(msg, assignable.pattern)
      if result and result ~= 0 and result ~= "skip" then return true end
    end
    return false
  end
end

return assignment
