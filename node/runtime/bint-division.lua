-- Division of big integers: without sign, rounded towards zero (t…), and rounded down as Lua does (i…).
local unpack, is_below = table.unpack, math.ult

local WORD = 0xffffffff
local SIGN = 0x80000000

local function top_of(words, size)
  local top = size
  while top > 0 and words[top] == 0 do top = top - 1 end
  return top
end

-- Divides 64 bits, taken without sign, by a word.
local function divide_by_word(number, divisor)
  -- Lua divides signed numbers: half of the number is never negative.
  local quotient = (number >> 1) // divisor << 1
  local rest = number - quotient * divisor
  if rest < divisor then return quotient, rest end
  return quotient + 1, rest - divisor
end

-- The words moved up by fewer than 32 bits, and one more for what comes out at the top.
local function moved_up(words, top, shift)
  local result, carry = {}, 0
  for place = 1, top do
    local word = words[place] << shift | carry
    result[place], carry = word & WORD, word >> 32
  end
  result[top + 1] = carry
  return result
end

-- Subtracts `factor` times the divisor from the words of `rest` from `start` on. Whether that was too much.
local function subtract_multiple(rest, start, divisor, top, factor)
  local carry = 0
  for place = 1, top do
    local product = factor * divisor[place] + carry
    local difference = rest[start + place] - (product & WORD)
    rest[start + place], carry = difference & WORD, (product >> 32) + (difference >> 63)
  end
  local difference = rest[start + top + 1] - carry
  rest[start + top + 1] = difference & WORD
  return difference < 0
end

local function add_back(rest, start, divisor, top)
  local carry = 0
  for place = 1, top do
    local sum = rest[start + place] + divisor[place] + carry
    rest[start + place], carry = sum & WORD, sum >> 32
  end
  rest[start + top + 1] = rest[start + top + 1] + carry & WORD
end

-- A word of the quotient from the first three words of what is left and the first two of the divisor: right, or one
-- too large. The divisor's highest bit is set.
local function guess_word(first, second, third, high, low)
  local guess, rest = divide_by_word(first << 32 | second, high)
  while guess > WORD or is_below(rest << 32 | third, guess * low) do
    guess, rest = guess - 1, rest + high
    if rest > WORD then break end
  end
  return guess
end

-- Knuth's algorithm D, for a divisor of two words or more and a dividend of at least as many.
local function divide_long(dividend, dividend_top, divisor, top, quotient, remainder)
  local shift = 0
  while divisor[top] << shift < SIGN do shift = shift + 1 end
  local rest = moved_up(dividend, dividend_top, shift)
  divisor = moved_up(divisor, top, shift)
  local high, low = divisor[top], divisor[top - 1]
  for start = dividend_top - top, 0, -1 do
    local last = start + top
    local word = guess_word(rest[last + 1], rest[last], rest[last - 1], high, low)
    if subtract_multiple(rest, start, divisor, top, word) then
      word = word - 1
      add_back(rest, start, divisor, top)
    end
    quotient[start + 1] = word
  end
  for place = 1, top do
    remainder[place] = (rest[place] | rest[place + 1] << 32) >> shift & WORD
  end
end

local function divide_by_integers(dividend, divisor, quotient, remainder)
  local number, by = dividend[1] | dividend[2] << 32, divisor[1] | divisor[2] << 32
  local whole, rest = number // by, number % by
  quotient[1], quotient[2] = whole & WORD, whole >> 32
  remainder[1], remainder[2] = rest & WORD, rest >> 32
end

local function divide_by_one_word(dividend, dividend_top, divisor, quotient, remainder)
  local rest = 0
  for place = dividend_top, 1, -1 do
    quotient[place], rest = divide_by_word(rest << 32 | dividend[place], divisor)
  end
  remainder[1] = rest
end

-- Whether words without sign are those of a Lua integer that has none.
local function is_integer(words, top)
  return top < 2 or top == 2 and words[2] < SIGN
end

-- Quotient and remainder without sign, as new lists of words.
local function divide(dividend, divisor, size)
  local dividend_top, top = top_of(dividend, size), top_of(divisor, size)
  if top == 0 then error("attempt to divide by zero", 0) end
  -- Above the words that a division gives both are zero, as these copies are: the remainder has at most as many words
  -- as the divisor, and for the quotient what the dividend has more is cleared.
  local quotient, remainder = { unpack(dividend, 1, size) }, { unpack(divisor, 1, size) }
  if is_integer(dividend, dividend_top) and is_integer(divisor, top) then
    divide_by_integers(dividend, divisor, quotient, remainder)
  elseif top == 1 then
    divide_by_one_word(dividend, dividend_top, divisor[1], quotient, remainder)
  else
    for place = math.max(dividend_top - top + 2, 1), dividend_top do quotient[place] = 0 end
    if dividend_top < top then return quotient, { unpack(dividend, 1, size) } end
    divide_long(dividend, dividend_top, divisor, top, quotient, remainder)
  end
  return quotient, remainder
end

local function add_unsigned(bint, size, integral)
  function bint.udivmod(x, y)
    local quotient, remainder = divide(integral(x), integral(y), size)
    return setmetatable(quotient, bint), setmetatable(remainder, bint)
  end

  function bint.udiv(x, y)
    return (bint.udivmod(x, y))
  end

  function bint.umod(x, y)
    local _, remainder = bint.udivmod(x, y)
    return remainder
  end
end

-- The remainder has the dividend's sign.
local function divide_truncated(dividend, divisor, bint, size)
  local dividend_negative, divisor_negative = dividend[size] >= SIGN, divisor[size] >= SIGN
  local quotient, remainder = divide(
    dividend_negative and -dividend or dividend,
    divisor_negative and -divisor or divisor,
    size
  )
  setmetatable(quotient, bint)
  setmetatable(remainder, bint)
  if dividend_negative ~= divisor_negative then quotient:_unm() end
  if dividend_negative then remainder:_unm() end
  return quotient, remainder
end

local function add_truncated(bint, size)
  local minimum = bint.mininteger()

  -- Texts are an error here, as they have no sign.
  function bint.tdivmod(x, y)
    local x_negative, y_negative = bint.isneg(x), bint.isneg(y)
    local dividend, divisor = bint.tobint(x), bint.tobint(y)
    if dividend and divisor then
      if dividend == minimum and divisor:isminusone() then error("division overflow", 0) end
      return divide_truncated(dividend, divisor, bint, size)
    end
    dividend, divisor = bint.abs(x), bint.abs(y)
    local quotient, remainder = dividend // divisor, dividend % divisor
    return x_negative ~= y_negative and -quotient or quotient, x_negative and -remainder or remainder
  end

  function bint.tdiv(x, y)
    return (bint.tdivmod(x, y))
  end

  function bint.tmod(x, y)
    local _, remainder = bint.tdivmod(x, y)
    return remainder
  end
end

local function add_floored(bint, size)
  function bint.idivmod(x, y)
    local dividend, divisor = bint.tobint(x), bint.tobint(y)
    if not (dividend and divisor) then
      local number, other = bint.tonumber(x), bint.tonumber(y)
      return number // other, number % other
    end
    local quotient, remainder = divide_truncated(dividend, divisor, bint, size)
    if dividend[size] ~ divisor[size] >= SIGN and not remainder:iszero() then
      quotient:_dec()
      remainder:_add(divisor)
    end
    return quotient, remainder
  end

  function bint.__idiv(x, y)
    return (bint.idivmod(x, y))
  end

  function bint.__mod(x, y)
    local _, remainder = bint.idivmod(x, y)
    return remainder
  end

  -- As in Lua, `/` gives a float.
  function bint.__div(x, y)
    return bint.tonumber(x) / bint.tonumber(y)
  end
end

return function(bint, size, integral)
  add_unsigned(bint, size, integral)
  add_truncated(bint, size)
  add_floored(bint, size)
end
