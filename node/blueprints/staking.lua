-- Staking: holders put tokens aside, and what they take out again comes back some blocks later.
local bint = require(".bint")(256)
local json = require("json")

-- Digits of a quantity; longer ones do not fit in 256 bits.
local MAX_DIGITS = 76
-- Unstakings that one message ends; those behind them wait for the next message.
local MAX_RELEASES = 100
-- Stakers who are told at once: they have to fit in what one evaluation may send, 8 MiB.
local MAX_LISTED = 20000

-- What is staked and what is on its way back, by address. Each takes tokens from Balances to get into: it has an entry
-- for those who have something in it and for nobody else, so strangers make it grow no further than Balances.
Balances = Balances or {}
Stakers = Stakers or {}
Unstaking = Unstaking or {}
-- Blocks from staking until tokens can come back.
UnstakeDelay = UnstakeDelay or 670

-- The addresses in Unstaking as a binary heap, the first to be released in front: no message looks at all of them.
-- Who unstakes again for a later block stays in its old place too, until that block: one place for a message at most.
local queue = {}

local function enqueue(address, release_at)
  local place = #queue + 1
  while place > 1 and queue[place // 2].release_at > release_at do
    queue[place] = queue[place // 2]
    place = place // 2
  end
  queue[place] = { address = address, release_at = release_at }
end

local function dequeue()
  local first, last = queue[1], table.remove(queue)
  local place, length = 1, #queue
  if length == 0 then return first end
  while 2 * place <= length do
    local child = 2 * place
    if child < length and queue[child + 1].release_at < queue[child].release_at then child = child + 1 end
    if queue[child].release_at >= last.release_at then break end
    queue[place] = queue[child]
    place = child
  end
  queue[place] = last
  return first
end

for address, pending in pairs(Unstaking) do enqueue(address, pending.release_at or 0) end

local function answer(msg, fields)
  if msg.reply then return msg.reply(fields) end
  fields.Target = msg.From
  Send(fields)
end

local function fail(msg, action, cause)
  answer(msg, { Action = action, ["Message-Id"] = msg.Id, Error = cause, Data = cause })
end

-- The block of a message. The network gives a number; text is a tag, by which the sender would choose the block.
local function height_of(msg)
  local height = msg["Block-Height"]
  return math.type(height) == "integer" and height or nil
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

-- The text of an amount in a table where nothing is no entry.
local function amount_text(amount)
  return not amount:iszero() and tostring(amount) or nil
end

local function staked_by(address)
  local staker = Stakers[address]
  return bint(staker and staker.amount or 0)
end

local function stake(address, quantity, height)
  local unstake_at = height + UnstakeDelay
  local staker = Stakers[address]
  -- Never earlier than before: somebody may count on the stake until then.
  if staker then unstake_at = math.max(unstake_at, staker.unstake_at or 0) end
  local total = staked_by(address) + quantity
  Balances[address] = amount_text(bint(Balances[address]) - quantity)
  Stakers[address] = { amount = tostring(total), unstake_at = unstake_at }
end

local function unstake(address, quantity)
  local staker, pending = Stakers[address], Unstaking[address]
  local release_at, amount = staker.unstake_at or 0, quantity
  if pending then
    -- One entry for each address: what was on its way already comes back together with this.
    release_at, amount = math.max(release_at, pending.release_at or 0), amount + bint(pending.amount)
  end
  if not pending or pending.release_at ~= release_at then enqueue(address, release_at) end
  Unstaking[address] = { amount = tostring(amount), release_at = release_at }
  staker.amount = amount_text(staked_by(address) - quantity)
  if not staker.amount then Stakers[address] = nil end
end

-- Gives back what an address has unstaked, unless it unstaked more in the meantime and has a later place in the queue.
local function release(address, height)
  local pending = Unstaking[address]
  if not pending or (pending.release_at or 0) > height then return end
  Balances[address] = tostring(bint(Balances[address] or 0) + bint(pending.amount))
  Unstaking[address] = nil
end

-- Runs in front of every message, the owner's code too: an error, for which the owner's own changes to the tables are
-- enough, would lock the owner out.
local function finalize(msg)
  local height = height_of(msg)
  if not height then return end
  for _ = 1, MAX_RELEASES do
    if not queue[1] or queue[1].release_at > height then return end
    local address = dequeue().address
    local is_released, cause = pcall(release, address, height)
    if not is_released then print("Unstaking of " .. address .. " can't be ended: " .. tostring(cause)) end
  end
end

local function has_too_many_stakers()
  local count = 0
  for _ in pairs(Stakers) do
    count = count + 1
    if count > MAX_LISTED then return true end
  end
  return false
end

Handlers.prepend("staking.finalize", function() return "continue" end, finalize)

Handlers.add("staking.balances", "Stakers", function(msg)
  if has_too_many_stakers() then return fail(msg, "Stakers-Error", "More than " .. MAX_LISTED .. " stakers.") end
  answer(msg, { Data = json.encode(Stakers) })
end)

Handlers.add("staking.stake", "Stake", function(msg)
  local quantity, cause = read_quantity(msg.Tags.Quantity)
  if not quantity then return fail(msg, "Stake-Error", cause) end
  local height = height_of(msg)
  if not height then return fail(msg, "Stake-Error", "Block-Height must not be a tag!") end
  if bint(Balances[msg.From] or 0) < quantity then
    return fail(msg, "Stake-Error", "Insufficient balance to stake")
  end
  stake(msg.From, quantity, height)
  print("Successfully Staked " .. tostring(quantity))
  answer(msg, { Data = "Successfully Staked " .. tostring(quantity) })
end)

Handlers.add("staking.unstake", "Unstake", function(msg)
  local quantity, cause = read_quantity(msg.Tags.Quantity)
  if not quantity then return fail(msg, "Unstake-Error", cause) end
  if staked_by(msg.From) < quantity then return fail(msg, "Unstake-Error", "Insufficient staked amount") end
  unstake(msg.From, quantity)
  answer(msg, { Data = "Successfully unstaked " .. tostring(quantity) })
end)
