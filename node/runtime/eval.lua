-- The owner's Lua code: an expression, else statements. What it returns is shown like what it prints.
local stringify = require(".stringify")

return function(ao)
  return function(msg)
    local code = tostring(msg.Data)
    local run = load("return " .. code, "aos", "t", _G)
    if not run then
      local cause
      run, cause = load(code, "aos", "t", _G)
      if not run then
        ao.outbox.Error = cause
        return
      end
    end
    local value, cause = run()
    if cause then
      ao.outbox.Error = cause
    elseif value then
      table.insert(HANDLER_PRINT_LOGS, type(value) == "table" and stringify.format(value) or tostring(value))
    end
  end
end
