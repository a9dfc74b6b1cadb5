-- ISAAC, Bob Jenkins' generator of 32-bit numbers, and the Vigenère cipher of printable ASCII that aos makes of it.
local util = require(".crypto.util")

local issac = {}
local WORD = 0xffffffff
local GOLDEN_RATIO = 0x9e3779b9
-- Printable ASCII.
local FIRST_LETTER, LETTERS = 32, 95

-- The state: 256 words, three more, and the results that were not taken yet.
local state, a, b, c = {}, 0, 0, 0
local results, taken = {}, 0

local shifts = { [0] = function(x) return x << 13 end, function(x) return x >> 6 end, function(x) return x << 2 end,
  function(x) return x >> 16 end }

local function refill()
  c = (c + 1) & WORD
  b = (b + c) & WORD
  for place = 0, 255 do
    local x = state[place]
    a = ((a ~ shifts[place % 4](a)) + state[(place + 128) % 256]) & WORD
    local y = (state[(x >> 2) % 256] + a + b) & WORD
    state[place] = y
    b = (state[(y >> 10) % 256] + x) & WORD
    results[place] = b
  end
  taken = 0
end

-- Negative: to the right.
local mixing = { [0] = 11, -2, 8, -16, 10, -4, 8, -9 }

local function mix(words)
  for place = 0, 7 do
    local next_word, by = words[(place + 1) % 8], mixing[place]
    local shifted = by > 0 and next_word << by or next_word >> -by
    words[place] = (words[place] ~ shifted) & WORD
    words[(place + 3) % 8] = (words[(place + 3) % 8] + words[place]) & WORD
    words[(place + 1) % 8] = (words[(place + 1) % 8] + words[(place + 2) % 8]) & WORD
  end
end

-- Mixes eight words at a time into the state, with what `source` has, if anything.
local function spread(words, source)
  for start = 0, 248, 8 do
    for offset = 0, source and 7 or -1 do words[offset] = (words[offset] + source[start + offset]) & WORD end
    mix(words)
    for offset = 0, 7 do state[start + offset] = words[offset] end
  end
end

-- Starts from a text, of which 256 bytes count; without `use_seed` always from the same state.
function issac.seedIsaac(seed, use_seed)
  for place = 0, 255 do
    state[place], results[place] = 0, seed:byte(place + 1) or 0
  end
  a, b, c = 0, 0, 0
  local words = {}
  for place = 0, 7 do words[place] = GOLDEN_RATIO end
  for _ = 1, 4 do mix(words) end
  spread(words, use_seed and results)
  if use_seed then spread(words, state) end
  refill()
end

function issac.getRandom()
  local result = results[taken]
  taken = taken + 1
  if taken > 255 then refill() end
  return result
end

-- A number from `min` to `max`; without a seed it follows math.random.
function issac.random(min, max, seed)
  min, max = min or 0, max or 2 ^ 31 - 1
  issac.seedIsaac(seed or tostring(math.random(2 ^ 31 - 1)), true)
  return issac.getRandom() % (max - min + 1) + min
end

function issac.getRandomChar()
  return issac.getRandom() % LETTERS + FIRST_LETTER
end

local function shifted(text, key, direction)
  issac.seedIsaac(key, true)
  return (text:gsub(".", function(char)
    local place = char:byte() - FIRST_LETTER + direction * issac.getRandomChar()
    return string.char(place % LETTERS + FIRST_LETTER)
  end))
end

function issac.encrypt(text, key)
  local encrypted = shifted(text, key, 1)
  local result = util.result(encrypted)
  function result.asBytes()
    local letters = {}
    for place = 1, #encrypted do letters[place] = encrypted:sub(place, place) end
    return letters
  end
  return result
end

function issac.decrypt(encrypted, key)
  return shifted(encrypted, key, -1)
end

return issac
