-- Tables as plain indented text.
local pretty = { _version = "0.0.1" }

function pretty.tprint(value, indent)
  indent = indent or 0
  local lines = {}
  for key, element in pairs(value) do
    local start = (" "):rep(indent) .. tostring(key) .. ": "
    if type(element) == "table" then
      table.insert(lines, start .. "\n" .. pretty.tprint(element, indent + 1))
    else
      table.insert(lines, start .. tostring(element) .. "\n")
    end
  end
  return table.concat(lines)
end

return pretty
