-- NORX 64-4-1, a candidate of the CAESAR competition that was not chosen: authenticated encryption with a key and a
-- nonce of 32 bytes, a header and a trailer that are authenticated only, and a tag of 32 bytes behind.
local util = require(".crypto.util")

local norx = { key_size = 32, nonce_size = 32, variant = "NORX 64-4-1" }

local RATE, TAG = 96, 32
local RATE_WORDS = "<" .. ("I8"):rep(RATE // 8)
local KEY_WORDS = "<I8I8I8I8"
-- What the parts of a message are told apart by.
local HEADER, PAYLOAD, TRAILER, FINAL = 1, 2, 4, 8
-- Bits of a word, rounds, lanes, bits of the tag.
local PARAMETERS = { 64, 4, 1, 256 }
-- The columns and the diagonals of the state, four words by four.
local QUARTERS = {
  { 1, 5, 9, 13 }, { 2, 6, 10, 14 }, { 3, 7, 11, 15 }, { 4, 8, 12, 16 },
  { 1, 6, 11, 16 }, { 2, 7, 12, 13 }, { 3, 8, 9, 14 }, { 4, 5, 10, 15 },
}

local function blend(x, y) return x ~ y ~ (x & y) << 1 end
local function turn(x, by) return x >> by | x << 64 - by end

local function quarter(state, places)
  local a, b, c, d = state[places[1]], state[places[2]], state[places[3]], state[places[4]]
  a = blend(a, b) d = turn(d ~ a, 8)
  c = blend(c, d) b = turn(b ~ c, 19)
  a = blend(a, b) d = turn(d ~ a, 40)
  c = blend(c, d) b = turn(b ~ c, 63)
  state[places[1]], state[places[2]], state[places[3]], state[places[4]] = a, b, c, d
end

local function permute(state, rounds)
  for _ = 1, rounds do
    for _, places in ipairs(QUARTERS) do quarter(state, places) end
  end
end

local function begin_block(state, part)
  state[16] = state[16] ~ part
  permute(state, PARAMETERS[2])
end

local function add_key(state, key_words)
  for place = 1, 4 do state[12 + place] = state[12 + place] ~ key_words[place] end
end

local function new_state(key, nonce)
  if type(key) ~= "string" or #key ~= 32 then error("key must be 32 bytes", 3) end
  if type(nonce) ~= "string" or #nonce ~= 32 then error("nonce must be 32 bytes", 3) end
  local state, key_words, nonce_words = {}, { KEY_WORDS:unpack(key) }, { KEY_WORDS:unpack(nonce) }
  for place = 1, 16 do state[place] = place - 1 end
  permute(state, 2)
  for place = 1, 4 do state[place], state[place + 4] = nonce_words[place], key_words[place] end
  add_key(state, PARAMETERS)
  permute(state, PARAMETERS[2])
  add_key(state, key_words)
  return state, key_words
end

-- The last block of a part is filled up so that no two texts give the same one.
local function filled(block)
  if #block == RATE - 1 then return block .. "\x81" end
  return block .. "\1" .. ("\0"):rep(RATE - 2 - #block) .. "\x80"
end

local function xor_into(state, words)
  for place = 1, RATE // 8 do state[place] = state[place] ~ words[place] end
end

-- The blocks of a part, of which the last is a short one, if it is not empty; nothing at all for an empty part.
local function blocks_of(text)
  local start = 1 - RATE
  return function()
    start = start + RATE
    if #text > 0 and start <= #text + 1 then return text:sub(start, start + RATE - 1) end
  end
end

local function absorb(state, text, part)
  for block in blocks_of(text) do
    begin_block(state, part)
    xor_into(state, { RATE_WORDS:unpack(#block == RATE and block or filled(block)) })
  end
end

local function rate_of(state) return RATE_WORDS:pack(table.unpack(state, 1, RATE // 8)) end

local function encrypt_payload(state, text)
  local pieces = {}
  for block in blocks_of(text) do
    begin_block(state, PAYLOAD)
    xor_into(state, { RATE_WORDS:unpack(#block == RATE and block or filled(block)) })
    pieces[#pieces + 1] = rate_of(state):sub(1, #block)
  end
  return table.concat(pieces)
end

local function decrypt_payload(state, encrypted)
  local pieces = {}
  for block in blocks_of(encrypted) do
    begin_block(state, PAYLOAD)
    local before = rate_of(state)
    local text = {}
    for place = 1, #block do text[place] = string.char(block:byte(place) ~ before:byte(place)) end
    text = table.concat(text)
    xor_into(state, { RATE_WORDS:unpack(#block == RATE and text or filled(text)) })
    pieces[#pieces + 1] = text
  end
  return table.concat(pieces)
end

local function tag_of(state, key_words)
  begin_block(state, FINAL)
  add_key(state, key_words)
  permute(state, PARAMETERS[2])
  add_key(state, key_words)
  return KEY_WORDS:pack(state[13], state[14], state[15], state[16])
end

function norx.encrypt(key, nonce, text, header, trailer)
  local state, key_words = new_state(key, nonce)
  absorb(state, header or "", HEADER)
  local encrypted = encrypt_payload(state, text)
  absorb(state, trailer or "", TRAILER)
  return util.result(encrypted .. tag_of(state, key_words))
end

-- The text, or nil and why there is none.
function norx.decrypt(key, nonce, encrypted, header, trailer)
  if type(encrypted) ~= "string" or #encrypted < TAG then error("what is encrypted is too short for its tag", 2) end
  local state, key_words = new_state(key, nonce)
  absorb(state, header or "", HEADER)
  local text = decrypt_payload(state, encrypted:sub(1, -TAG - 1))
  absorb(state, trailer or "", TRAILER)
  if tag_of(state, key_words) ~= encrypted:sub(-TAG) then return nil, "auth failure" end
  return text
end

return norx
