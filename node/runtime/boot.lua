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
      print("On-Boot = " .. source
        .. " is not supported: this runtime boots from the process's own data (On-Boot = Data).")
    end
  end
end
