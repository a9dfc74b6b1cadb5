-- Signed integers of a fixed number of bits that wrap around: `require(".bint")(256)` gives their class.
-- A value is a list of 32-bit words, lowest first, in two's complement; its metatable is the class. Functions take
-- Lua numbers and texts too: what is no integer makes the result a float where one makes sense, otherwise an error.
local add_values = require(".bint-values")
local add_text = require(".bint-text")
local add_arithmetic = require(".bint-arithmetic")
local add_division = require(".bint-division")
local add_bits = require(".bint-bits")

local DEFAULT_BITS = 256
-- A value has room for any Lua integer.
local MIN_BITS = 64
local WORD_BITS = 32

-- Classes by their bits: values from two calls mix.
local classes = {}

local function new_class(bits)
  local bint = { bits = bits }
  bint.__index = bint
  local size = bits // WORD_BITS
  local integral = add_values(bint, size)
  add_text(bint, size)
  add_arithmetic(bint, size, integral)
  add_division(bint, size, integral)
  add_bits(bint, size, integral)
  return setmetatable(bint, { __call = function(_, x) return bint.new(x) end })
end

return function(bits)
  local count = math.tointeger(bits or DEFAULT_BITS)
  if not count or count < MIN_BITS or count % WORD_BITS ~= 0 then
    error("the bits of a bint must be a multiple of 32 and at least 64, got " .. tostring(bits), 2)
  end
  classes[count] = classes[count] or new_class(count)
  return classes[count]
end
