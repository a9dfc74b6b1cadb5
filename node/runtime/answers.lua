-- How a handler answers the message that it has, and passes it on.
local ao = require("ao")

-- Gives a message its functions `reply` and `forward`.
return function(msg)
  function msg.reply(answer)
    -- A copy: programs answer many with one table.
    local reply = {}
    for key, value in pairs(answer) do reply[key] = value end
    reply.Target = msg["Reply-To"] or answer.Target or msg.From
    reply["X-Reference"] = msg["X-Reference"] or msg.Reference
    reply["X-Origin"] = msg["X-Origin"]
    return ao.send(reply)
  end

  function msg.forward(target, extra)
    local forwarded = ao.sanitize(msg)
    for key, value in pairs(extra or {}) do forwarded[key] = value end
    forwarded.Target = target
    forwarded["Reply-To"] = msg["Reply-To"] or msg.From
    forwarded["X-Reference"] = msg["X-Reference"] or msg.Reference
    forwarded["X-Origin"] = msg["X-Origin"] or msg.From
    return ao.send(forwarded)
  end
end
