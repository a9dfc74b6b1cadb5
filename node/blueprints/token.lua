-- A token after ao's specification: anybody may ask for balances, holders transfer, the process itself mints.
local bint = require(".bint")(256)
local json = require("json")

-- Digits of a quantity. The sum of two such numbers is below 2^255, where 256 bits become negative.
local MAX_DIGITS = 76
local MAX_SUPPLY = bint(("9"):rep(MAX_DIGITS))
-- Characters of a recipient.
local MAX_ADDRESS_LENGTH = 128
-- Bytes of the X- tags that notices pass on. All tags of a message together take at most 4096.
local MAX_FORWARDED_BYTES = 2048
-- Holders whose balances are told at once: they have to fit in what one evaluation may send, 8 MiB.
local MAX_LISTED = 20000

Denomination = Denomination or 12
Name = Name or "Points Coin"
Ticker = Ticker or "PNTS"
Logo = Logo or "SBCCXwwecBlDqRLUjb8dYABExTJXLieawf7m2aBJ-KY"
-- Quantities as text by address. Holders can make it grow, one entry for a message and at least one unit of theirs:
-- that is what a token is for, and what is paid for it is theirs. Those who have nothing have no entry.
Balances = Balances or {}

-- What all balances together are. Only when the file is loaded: from then on TotalSupply is kept up to date.
local function sum_of_balances()
  local sum = bint(0)
  for _, balance in pairs(Balances) do sum = sum + bint(balance) end
  return sum
end

-- Without holders and supply this is a new token; other blueprints may have made the empty table.
if not TotalSupply and next(Balances) == nil then Balances[ao.id] = "10000" .. ("0"):rep(Denomination) end
TotalSupply = tostring(bint(TotalSupply or sum_of_balances()))

local function answer(msg, fields)
  if msg.reply then return msg.reply(fields) end
  fields.Target = msg.From
  Send(fields)
end

local function fail(msg, action, cause)
  answer(msg, { Action = action, ["Message-Id"] = msg.Id, Error = cause, Data = cause })
end

-- The number that the text of a quantity is, or nil and what is wrong with it.
local function read_quantity(text)
  if not text or text == "" then return nil, "Quantity is required!" end
  if not text:find("^-?%d+$") then return nil, "Quantity must be a whole number!" end
  if #text > MAX_DIGITS then return nil, "Quantity is too large!" end
  local quantity = bint(text)
  if quantity <= bint(0) then return nil, "Quantity must be greater than 0" end
  return quantity
end

local function is_address(text)
  return #text <= MAX_ADDRESS_LENGTH and text:find("^[%w_-]+$") ~= nil
end

local function balance_of(address)
  return bint(Balances[address] or 0)
end

local function set_balance(address, balance)
  Balances[address] = not balance:iszero() and tostring(balance) or nil
end

-- The quantity of a transfer that can be done, or nil and why it can't.
local function check_transfer(msg)
  local recipient = msg.Tags.Recipient
  if not recipient or recipient == "" then return nil, "Recipient is required!" end
  if not is_address(recipient) then return nil, "Recipient must be an address!" end
  if recipient == msg.From then return nil, "Recipient must not be the sender!" end
  local quantity, cause = read_quantity(msg.Tags.Quantity)
  if not quantity then return nil, cause end
  if balance_of(msg.From) < quantity then return nil, "Insufficient Balance!" end
  return quantity
end

-- The tags that a transfer wants to be passed on, or nil if they are too long.
local function forwarded_tags(msg)
  local forwarded, bytes = {}, 0
  for name, value in pairs(msg.Tags) do
    -- X-Reference marks answers: with it the sender could pass off a Credit-Notice as what the recipient waits for.
    if name:sub(1, 2) == "X-" and name ~= "X-Reference" then
      forwarded[name] = value
      bytes = bytes + #name + #value
    end
  end
  return bytes <= MAX_FORWARDED_BYTES and forwarded or nil
end

local function notice(forwarded, fields)
  for name, value in pairs(forwarded) do fields[name] = value end
  return fields
end

local function send_notices(msg, quantity, forwarded)
  local recipient = msg.Tags.Recipient
  answer(msg, notice(forwarded, {
    Action = "Debit-Notice", Recipient = recipient, Quantity = quantity,
    Data = Colors.gray .. "You transferred " .. Colors.blue .. quantity .. Colors.gray .. " to " .. Colors.green
      .. recipient .. Colors.reset,
  }))
  ao.send(notice(forwarded, {
    Target = recipient, Action = "Credit-Notice", Sender = msg.From, Quantity = quantity,
    Data = Colors.gray .. "You received " .. Colors.blue .. quantity .. Colors.gray .. " from " .. Colors.green
      .. msg.From .. Colors.reset,
  }))
end

local function has_too_many_holders()
  local count = 0
  for _ in pairs(Balances) do
    count = count + 1
    if count > MAX_LISTED then return true end
  end
  return false
end

-- The answer to this question has the question's action. It is not answered in turn, else two tokens that somebody
-- points at each other would never end.
local function asks_for_supply(msg)
  local is_answer = msg["X-Reference"] and not msg["Reply-To"]
  return msg.Action == "Total-Supply" and not is_answer
end

Handlers.add("info", "Info", function(msg)
  answer(msg, {
    Name = Name, Ticker = Ticker, Logo = Logo, Denomination = tostring(Denomination), Supply = TotalSupply,
  })
end)

Handlers.add("balance", "Balance", function(msg)
  local named = msg.Tags.Recipient or msg.Tags.Target
  if named and not is_address(named) then return fail(msg, "Balance-Error", "Recipient must be an address!") end
  local account = named or msg.From
  local balance = tostring(balance_of(account))
  answer(msg, { Balance = balance, Ticker = Ticker, Account = account, Data = balance })
end)

Handlers.add("balances", "Balances", function(msg)
  if has_too_many_holders() then
    return fail(msg, "Balances-Error", "More than " .. MAX_LISTED .. " holders: ask for one with Action = \"Balance\".")
  end
  answer(msg, { Data = json.encode(Balances) })
end)

Handlers.add("transfer", "Transfer", function(msg)
  local quantity, cause = check_transfer(msg)
  if not quantity then return fail(msg, "Transfer-Error", cause) end
  local forwarded = forwarded_tags(msg)
  if not forwarded then
    return fail(msg, "Transfer-Error", "X- tags are too long: at most " .. MAX_FORWARDED_BYTES .. " bytes go on.")
  end
  local recipient = msg.Tags.Recipient
  set_balance(msg.From, balance_of(msg.From) - quantity)
  set_balance(recipient, balance_of(recipient) + quantity)
  if not msg.Tags.Cast then send_notices(msg, tostring(quantity), forwarded) end
end)

Handlers.add("mint", "Mint", function(msg)
  if msg.From ~= ao.id then
    return fail(msg, "Mint-Error", "Only the Process Id can mint new " .. Ticker .. " tokens!")
  end
  local quantity, cause = read_quantity(msg.Tags.Quantity)
  if not quantity then return fail(msg, "Mint-Error", cause) end
  local supply = bint(TotalSupply) + quantity
  if supply > MAX_SUPPLY then return fail(msg, "Mint-Error", "Quantity is too large!") end
  set_balance(ao.id, balance_of(ao.id) + quantity)
  TotalSupply = tostring(supply)
  answer(msg, { Data = Colors.gray .. "Successfully minted " .. Colors.blue .. tostring(quantity) .. Colors.reset })
end)

Handlers.add("totalSupply", asks_for_supply, function(msg)
  answer(msg, { Action = "Total-Supply", Data = TotalSupply, Ticker = Ticker })
end)
