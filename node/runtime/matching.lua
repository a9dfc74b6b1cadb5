-- Whether a message fits a pattern.
local matching = {}

-- Whether one value fits a pattern: "_" anything; a function decides itself; a text with any of ^$()%.[]*+? is a Lua
-- pattern, both in lower case as in aos (so %S is read as %s); any other text is equal ignoring case; of a list one
-- must fit.
function matching.matchesPattern(pattern, value, msg)
  if not pattern then return false end
  if pattern == "_" then return true end
  local kind = type(pattern)
  if kind == "function" then return pattern(value, msg) and true or false end
  if kind == "string" then
    local text, wanted = tostring(value or ""):lower(), pattern:lower()
    if wanted:find("[%^%$%(%)%%%.%[%]%*%+%?]") then return text:find(wanted) ~= nil end
    return text == wanted
  end
  if kind == "table" then
    for _, alternative in pairs(pattern) do
      if matching.matchesPattern(alternative, value, msg) then return true end
    end
    return false
  end
  return pattern == value
end

-- Whether a message fits: a function decides itself; of a table every field must fit the message's field of that
-- name, which must be there and not false; a text is the message's Action.
function matching.matchesSpec(msg, spec)
  local kind = type(spec)
  if kind == "function" then return spec(msg) end
  if kind == "table" then
    for key, pattern in pairs(spec) do
      local value = msg[key]
      if not value or not matching.matchesPattern(pattern, value, msg) then return false end
    end
    return true
  end
  return kind == "string" and msg.Action == spec
end

return matching
