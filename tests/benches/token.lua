-- A token as programs on ao write it: balances by address, notices to both sides, an error when there is too little.
Balances = { [Owner] = 1000000000 }
for holder = 1, HOLDERS do Balances[string.format("%043d", holder)] = holder end
Handlers.add("transfer", Handlers.utils.hasMatchingTag("Action", "Transfer"), function(msg)
  local recipient, quantity = msg.Tags.Recipient, math.tointeger(tonumber(msg.Tags.Quantity))
  assert(recipient and quantity and quantity > 0, "Recipient and a positive Quantity are needed")
  local balance = Balances[msg.From] or 0
  assert(balance >= quantity, "Insufficient balance")
  Balances[msg.From] = balance - quantity
  Balances[recipient] = (Balances[recipient] or 0) + quantity
  Send({ Target = msg.From, Action = "Debit-Notice", Recipient = recipient, Quantity = tostring(quantity) })
  Send({ Target = recipient, Action = "Credit-Notice", Sender = msg.From, Quantity = tostring(quantity) })
end)
