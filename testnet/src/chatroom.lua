-- A chatroom: whoever sends Action = Register is a member, and what a member sends as Action = Broadcast reaches all.

Members = Members or {}

local function isMember(address)
    for _, member in ipairs(Members) do
        if member == address then return true end
    end
    return false
end

Handlers.add("Register", Handlers.utils.hasMatchingTag("Action", "Register"), function(msg)
    if not isMember(msg.From) then table.insert(Members, msg.From) end
    msg.reply({ Action = "Registered", Data = "welcome, there are " .. #Members .. " of us" })
end)

Handlers.add("Broadcast", Handlers.utils.hasMatchingTag("Action", "Broadcast"), function(msg)
    if not isMember(msg.From) then
        msg.reply({ Action = "Refused", Data = "register first" })
        return
    end
    for _, member in ipairs(Members) do
        Send({ Target = member, Action = "Broadcasted", Broadcaster = msg.From, Data = msg.Data })
    end
end)

return "the chatroom is open"
