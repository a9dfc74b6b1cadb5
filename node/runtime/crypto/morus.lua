-- MORUS-1280, a candidate of the CAESAR competition that was not chosen: authenticated encryption with a key of 16 or
-- 32 bytes. What is encrypted has the additional data in front and a tag of 16 bytes behind.
local util = require(".crypto.util")

local morus = { key_size = 32, nonce_size = 16, variant = "Morus-1280" }

local BLOCK, TAG = 32, 16
local WORDS = "<I8I8I8I8"
local ZEROS = { 0, 0, 0, 0 }
-- The Fibonacci numbers modulo 256, as words.
local CONSTANTS = { 0x0d08050302010100, 0x6279e99059372215, 0xf12fc26d55183ddb, 0xdd28b57342311120 }
-- For each of the five rounds: by how many bits the words of its row turn, and by how many words its partner's.
local bits, turns = { 13, 46, 38, 7, 4 }, { 1, 2, 3, 2, 1 }

local function words_of(block) return { WORDS:unpack(block) } end

local function turned(row, by)
  return { row[-by % 4 + 1], row[(1 - by) % 4 + 1], row[(2 - by) % 4 + 1], row[(3 - by) % 4 + 1] }
end

-- The state is five rows of four words.
local function update(state, message)
  for round = 1, 5 do
    local row, partner = state[round], state[(round + 2) % 5 + 1]
    local one, other = state[round % 5 + 1], state[(round + 1) % 5 + 1]
    for place = 1, 4 do
      local word = row[place] ~ partner[place] ~ one[place] & other[place]
      if round > 1 then word = word ~ message[place] end
      row[place] = word << bits[round] | word >> 64 - bits[round]
    end
    state[(round + 2) % 5 + 1] = turned(partner, turns[round])
  end
end

-- As aos has it: the state is one list of twenty words.
function morus.state_update(words, ...)
  local state = {}
  for row = 1, 5 do state[row] = table.move(words, row * 4 - 3, row * 4, 1, {}) end
  update(state, { ... })
  for row = 1, 5 do table.move(state[row], 1, 4, row * 4 - 3, words) end
end

local function new_state(key, nonce)
  if type(key) ~= "string" or #key ~= 16 and #key ~= 32 then error("key must be 16 or 32 bytes", 3) end
  if type(nonce) ~= "string" or #nonce ~= 16 then error("iv must be 16 bytes", 3) end
  local key_words = words_of(#key == 32 and key or key .. key)
  local state = {
    words_of(nonce .. ("\0"):rep(16)), { table.unpack(key_words) }, { -1, -1, -1, -1 }, { 0, 0, 0, 0 },
    { table.unpack(CONSTANTS) },
  }
  for _ = 1, 16 do update(state, ZEROS) end
  for place = 1, 4 do state[2][place] = state[2][place] ~ key_words[place] end
  return state
end

-- What a block is masked with.
local function mask(state)
  local words = {}
  for place = 1, 4 do
    words[place] = state[1][place] ~ state[2][place % 4 + 1] ~ state[3][place] & state[4][place]
  end
  return words
end

-- Runs a text through the state, block by block; `opening` says that the text is the masked one.
local function run(state, text, opening)
  local pieces = {}
  for start = 1, #text, BLOCK do
    local block = text:sub(start, start + BLOCK - 1)
    local words, masks, result = words_of(block .. ("\0"):rep(BLOCK - #block)), mask(state), {}
    for place = 1, 4 do result[place] = words[place] ~ masks[place] end
    local piece = WORDS:pack(table.unpack(result)):sub(1, #block)
    pieces[#pieces + 1] = piece
    update(state, words_of((opening and piece or block) .. ("\0"):rep(BLOCK - #block)))
  end
  return table.concat(pieces)
end

local function tag_of(state, text_length, data_length)
  for place = 1, 4 do state[5][place] = state[5][place] ~ state[1][place] end
  for _ = 1, 10 do update(state, { data_length << 3, text_length << 3, 0, 0 }) end
  return WORDS:pack(table.unpack(mask(state))):sub(1, TAG)
end

function morus.encrypt(key, nonce, text, data)
  data = data or ""
  local state = new_state(key, nonce)
  run(state, data)
  local encrypted = run(state, text)
  return util.result(data .. encrypted .. tag_of(state, #text, #data))
end

-- The text, or nil and why there is none. `data_length` says how much additional data is in front.
function morus.decrypt(key, nonce, encrypted, data_length)
  data_length = data_length or 0
  if #encrypted < data_length + TAG then error("what is encrypted is too short for its data and tag", 2) end
  local state = new_state(key, nonce)
  run(state, encrypted:sub(1, data_length))
  local text = run(state, encrypted:sub(data_length + 1, -TAG - 1), true)
  if tag_of(state, #text, data_length) ~= encrypted:sub(-TAG) then return nil, "decrypt error" end
  return text
end

return morus
