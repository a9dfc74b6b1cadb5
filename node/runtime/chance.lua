-- Random numbers from the Mersenne twister MT19937: a seed gives the same sequence everywhere. Programs' math.random
-- is this generator.
local chance = {}

local LENGTH = 624
local DISTANCE = 397
local WORD = 0xffffffff
local HIGHEST_BIT = 0x80000000
local LOWER_BITS = 0x7fffffff
local TWIST = 0x9908b0df

-- The first word, until somebody seeds the generator that of its authors; all words, once one is asked for; and the
-- place of the last one that was given out.
local first, words, place = 5489, nil, LENGTH

function chance.seed(seed)
  first, words = seed & WORD, nil
end

local function spread()
  local word = first
  words, place = { word }, LENGTH
  for index = 1, LENGTH - 1 do
    word = 1812433253 * (word ~ word >> 30) + index & WORD
    words[index + 1] = word
  end
end

-- Makes the next words out of all.
local function renew()
  for index = 1, LENGTH do
    local mixed = words[index] & HIGHEST_BIT | words[index % LENGTH + 1] & LOWER_BITS
    local word = words[(index + DISTANCE - 1) % LENGTH + 1] ~ mixed >> 1
    words[index] = mixed & 1 == 0 and word or word ~ TWIST
  end
  place = 0
end

-- A number from 0 on below 1, with 32 random bits.
function chance.random()
  if not words then spread() end
  if place == LENGTH then renew() end
  place = place + 1
  local word = words[place]
  word = word ~ word >> 11
  word = word ~ word << 7 & 0x9d2c5680
  word = word ~ word << 15 & 0xefc60000
  word = word ~ word >> 18
  return word * (1.0 / 4294967296.0)
end

-- An integer from `min` to `max`.
function chance.integer(min, max)
  assert(max >= min, "max must bigger than min")
  return math.floor(chance.random() * (max - min + 1) + min)
end

-- As in aos: bounds need not be integers.
function math.random(...)
  local count, min, max = select("#", ...), ...
  if count == 1 then return chance.integer(1, min) end
  if count == 2 then return chance.integer(min, max) end
  return chance.random()
end

-- Of any number the lowest 32 bits before the point count.
function math.randomseed(seed)
  chance.seed(math.tointeger(seed // 1 % 4294967296) or 0)
end

return chance
