-- What nobody handles goes to the inbox, with a line for the console.
local colors = require(".colors")
local json = require("json")

-- Characters of action or data that are shown.
local SHOWN = 20

-- The handler. It is given a function that puts a message into the inbox.
return function(insert)
  return function(msg)
    insert(msg)
    local from, name, value = tostring(msg.From), "Action", msg.Action
    if not value then
      name, value = "Data", msg.Data or ""
      if type(value) == "table" then
        local ok, text = pcall(json.encode, value)
        if ok then value = text end
      end
    end
    print(colors.gray .. "New Message From " .. colors.green .. from:sub(1, 3) .. "..." .. from:sub(-3) .. colors.gray
      .. ": " .. colors.gray .. name .. " = " .. colors.blue .. tostring(value):sub(1, SHOWN) .. colors.reset)
  end
end
