-- What nobody handles goes to the inbox, with a line for the console.
local colors = require(".colors")

-- Messages that the inbox holds; then the oldest is dropped.
local INBOX_CAPACITY = 10000
-- Characters of action or data that are shown.
local SHOWN = 20

return function(msg)
  table.insert(Inbox, msg)
  while #Inbox > INBOX_CAPACITY do table.remove(Inbox, 1) end
  local from = tostring(msg.From)
  local what = msg.Action and "Action = " .. colors.blue .. tostring(msg.Action):sub(1, SHOWN)
    or "Data = " .. colors.blue .. tostring(msg.Data or ""):sub(1, SHOWN)
  print(colors.gray .. "New Message From " .. colors.green .. from:sub(1, 3) .. "..." .. from:sub(-3) .. colors.gray
    .. ": " .. colors.gray .. what .. colors.reset)
end
