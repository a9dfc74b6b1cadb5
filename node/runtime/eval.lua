-- The owner's Lua code: an expression, else statements. What it returns is shown like what it prints.
-- It is the data of an Eval; consoles of 2023 (npm's aos) send it as a tag, with function = eval.
local stringify = require(".stringify")

return function(ao)
  return function(msg)
    local code = tostring(msg.Action ~= "Eval" and msg.Function == "eval" and msg.Expression or msg.Data)
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
