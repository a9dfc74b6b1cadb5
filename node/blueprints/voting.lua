-- Voting: stakers say yay or nay with what they have staked, until a block at which the vote ends.
local bint = require(".bint")(256)

-- Votes that are open at a time: every message looks at all of them. Stakers can fill them up until they end.
local MAX_OPEN_VOTES = 100
-- Blocks from the first voice to the end of a vote, about 30 days.
local MAX_DEADLINE = 21600
-- Bytes of what is voted on.
local MAX_TARGET_BYTES = 128

Balances = Balances or {}
Stakers = Stakers or {}
-- Open votes by what is voted on. Who voted is kept with each, at most all stakers; it is dropped when the vote ends.
Votes = Votes or {}

local function answer(msg, fields)
  if msg.reply then return msg.reply(fields) end
  fields.Target = msg.From
  Send(fields)
end

local function fail(msg, cause)
  answer(msg, { Action = "Vote-Error", ["Message-Id"] = msg.Id, Error = cause, Data = cause })
end

-- The block of a message. The network gives a number; text is a tag, by which the sender would choose the block.
local function height_of(msg)
  local height = msg["Block-Height"]
  return math.type(height) == "integer" and height or nil
end

local function stake_of(address)
  local staker = Stakers[address]
  return bint(staker and staker.amount or 0)
end

local function count_open()
  local count = 0
  for _ in pairs(Votes) do count = count + 1 end
  return count
end

-- What is wrong with a voice for or against something, whether there is a vote on it or not.
local function fault_of(msg)
  local target, side = msg.Tags.Target, msg.Tags.Side
  if not target or target == "" then return "Target is required: what is voted on." end
  if #target > MAX_TARGET_BYTES or target:find("%c") then return "Target is too long or has control characters." end
  if side ~= "yay" and side ~= "nay" then return "Side must be yay or nay." end
  if not height_of(msg) then return "Block-Height must not be a tag." end
  if stake_of(msg.From) <= bint(0) then return "No staked tokens to vote" end
end

-- A new vote, which ends as many blocks from now as its first voice says; or nil and why there can't be one.
local function new_vote(msg)
  local text = msg.Tags.Deadline or ""
  local blocks = #text <= #tostring(MAX_DEADLINE) and text:find("^%d+$") and tonumber(text)
  if not blocks or blocks < 1 or blocks > MAX_DEADLINE then
    return nil, "Deadline must be a number of blocks from 1 to " .. MAX_DEADLINE .. "."
  end
  if count_open() >= MAX_OPEN_VOTES then return nil, "Too many votes are open." end
  return { yay = "0", nay = "0", deadline = height_of(msg) + blocks, voters = {} }
end

-- The place to act on what a vote came to.
local function conclude(target, vote)
  local outcome = bint(vote.nay) < bint(vote.yay) and "passed" or "did not pass"
  print("Vote on " .. target .. " " .. outcome .. ": yay " .. vote.yay .. ", nay " .. vote.nay)
end

local function end_if_due(target, vote, height)
  if height < vote.deadline then return end
  Votes[target] = nil
  conclude(target, vote)
end

-- Runs in front of every message, the owner's code too: an error, for which the owner's own changes to the tables are
-- enough, would lock the owner out.
local function finalize(msg)
  local height = height_of(msg)
  if not height then return end
  for target, vote in pairs(Votes or {}) do
    local is_ended, cause = pcall(end_if_due, target, vote, height)
    if not is_ended then print("Vote on " .. tostring(target) .. " can't be ended: " .. tostring(cause)) end
  end
end

Handlers.prepend("finalize", function() return "continue" end, finalize)

Handlers.add("vote", "Vote", function(msg)
  local fault = fault_of(msg)
  if fault then return fail(msg, fault) end
  local target, side = msg.Tags.Target, msg.Tags.Side
  local vote, cause = Votes[target], nil
  if not vote then vote, cause = new_vote(msg) end
  if not vote then return fail(msg, cause) end
  -- A vote from before this file has no list of voters.
  vote.voters = vote.voters or {}
  if vote.voters[msg.From] then return fail(msg, "You have voted on this already.") end
  local stake, staker = stake_of(msg.From), Stakers[msg.From]
  vote[side], vote.voters[msg.From] = tostring(bint(vote[side]) + stake), side
  Votes[target] = vote
  -- Else the same tokens could be unstaked, sent to another address, staked there and vote again.
  staker.unstake_at = math.max(staker.unstake_at or 0, vote.deadline)
  answer(msg, { Data = "Voted " .. side .. " on " .. target .. " with " .. tostring(stake) })
end)
