-- What the process's own message does: it is the first in the inbox, and may carry code to start with.
local eval = require(".eval")

return function(ao)
  local run = eval(ao)
  return function(msg)
    if #Inbox == 0 then table.insert(Inbox, msg) end
    local source = msg.Tags["On-Boot"]
    if source == "Data" then
      run(msg)
    elseif source then
      local file, cause = io.open("/data/" .. source)
      if not file then
        print("On-Boot = " .. source .. ": Data, or the id of data on Arweave, is expected (" .. cause .. ")")
        return
      end
      run({ Action = "Eval", Data = file:read("a") })
    end
  end
end
