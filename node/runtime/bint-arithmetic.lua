-- Sums, products and powers of big integers, and their order.
local unpack = table.unpack

local WORD = 0xffffffff
local SIGN = 0x80000000

-- Makes of words those of the negative number.
local function negate(words, size)
  local carry = 1
  for place = 1, size do
    local word = (~words[place] & WORD) + carry
    words[place], carry = word & WORD, word >> 32
  end
  return words
end

local function add(words, summand, size)
  local carry = 0
  for place = 1, size do
    local sum = words[place] + summand[place] + carry
    words[place], carry = sum & WORD, sum >> 32
  end
  return words
end

local function subtract(words, subtrahend, size)
  local borrow = 0
  for place = 1, size do
    local difference = words[place] - subtrahend[place] - borrow
    words[place], borrow = difference & WORD, difference >> 63
  end
  return words
end

-- Adds x * y to words that are all zero. What exceeds them is dropped.
local function add_product(words, x, y, size)
  local y_top = size
  while y_top > 0 and y[y_top] == 0 do y_top = y_top - 1 end
  for shift = 0, size - 1 do
    local factor = x[shift + 1]
    if factor ~= 0 then
      local carry, last = 0, math.min(y_top, size - shift)
      for place = 1, last do
        -- At most 2^64 - 1, where words are at most 2^32 - 1.
        local sum = factor * y[place] + words[shift + place] + carry
        words[shift + place], carry = sum & WORD, sum >> 32
      end
      if shift + last < size then words[shift + last + 1] = carry end
    end
  end
  return words
end

-- Whether x is less than y: numbers with sign if `sign` is the sign bit, without if it is 0. A sign bit that is
-- swapped gives the highest words the order of signed ones.
local function is_less(x, y, size, sign)
  local x_word, y_word = x[size] ~ sign, y[size] ~ sign
  if x_word ~= y_word then return x_word < y_word end
  for place = size - 1, 1, -1 do
    x_word, y_word = x[place], y[place]
    if x_word ~= y_word then return x_word < y_word end
  end
  return false
end

local function add_steps(bint, size)
  function bint:_inc()
    for place = 1, size do
      local word = self[place] + 1 & WORD
      self[place] = word
      if word ~= 0 then break end
    end
    return self
  end

  function bint:_dec()
    for place = 1, size do
      local word = self[place] - 1 & WORD
      self[place] = word
      if word ~= WORD then break end
    end
    return self
  end

  function bint.inc(x)
    local value = bint.tobint(x, true)
    return value and value:_inc() or x + 1
  end

  function bint.dec(x)
    local value = bint.tobint(x, true)
    return value and value:_dec() or x - 1
  end
end

local function add_signs(bint, size)
  function bint:_unm()
    return negate(self, size)
  end

  function bint.__unm(x)
    return setmetatable(negate({ unpack(x, 1, size) }, size), bint)
  end

  -- The least number has no counterpart and stays.
  function bint:_abs()
    return self:isneg() and negate(self, size) or self
  end

  function bint.abs(x)
    local value = bint.tobint(x, true)
    return value and value:_abs() or math.abs(x)
  end
end

local function add_sums_and_products(bint, size, integral)
  local to_bint, to_number = bint.tobint, bint.tonumber

  function bint:_add(y)
    return add(self, integral(y), size)
  end

  function bint:_sub(y)
    return subtract(self, integral(y), size)
  end

  function bint.__add(x, y)
    local summand = getmetatable(x) == bint and x or to_bint(x)
    local other = getmetatable(y) == bint and y or to_bint(y)
    if not (summand and other) then return to_number(x) + to_number(y) end
    return setmetatable(add({ unpack(summand, 1, size) }, other, size), bint)
  end

  function bint.__sub(x, y)
    local minuend = getmetatable(x) == bint and x or to_bint(x)
    local subtrahend = getmetatable(y) == bint and y or to_bint(y)
    if not (minuend and subtrahend) then return to_number(x) - to_number(y) end
    return setmetatable(subtract({ unpack(minuend, 1, size) }, subtrahend, size), bint)
  end

  function bint.__mul(x, y)
    local factor = getmetatable(x) == bint and x or to_bint(x)
    local other = getmetatable(y) == bint and y or to_bint(y)
    if not (factor and other) then return to_number(x) * to_number(y) end
    return add_product(bint.zero(), factor, other, size)
  end
end

local function add_powers(bint, integral)
  -- The exponent is taken without sign. `reduce` gets each product.
  local function power(x, y, reduce)
    local base, exponent, result = x, y:tobint(true), bint.one()
    while true do
      if exponent:isodd() then result = reduce(result * base) end
      exponent:_shrone()
      if exponent:iszero() then return result end
      base = reduce(base * base)
    end
  end

  local function as_it_is(product)
    return product
  end

  function bint.ipow(x, y)
    return power(bint.new(x), integral(y), as_it_is)
  end

  -- Exact where the square of the modulus fits: products wrap around before they are reduced.
  function bint.upowmod(x, y, modulus)
    modulus = integral(modulus)
    if modulus:isone() then return bint.zero() end
    return power(bint.umod(x, modulus), integral(y), function(product) return bint.umod(product, modulus) end)
  end

  function bint.__pow(x, y)
    return bint.tonumber(x) ^ bint.tonumber(y)
  end
end

local function add_order(bint, size, integral)
  local to_bint, to_number = bint.tobint, bint.tonumber

  function bint.__eq(x, y)
    for place = 1, size do
      if x[place] ~= y[place] then return false end
    end
    return true
  end

  function bint.eq(x, y)
    local left, right = to_bint(x), to_bint(y)
    if left and right then return left == right end
    return x == y
  end

  function bint.__lt(x, y)
    local left = getmetatable(x) == bint and x or to_bint(x)
    local right = getmetatable(y) == bint and y or to_bint(y)
    if left and right then return is_less(left, right, size, SIGN) end
    return to_number(x) < to_number(y)
  end

  function bint.__le(x, y)
    local left = getmetatable(x) == bint and x or to_bint(x)
    local right = getmetatable(y) == bint and y or to_bint(y)
    if left and right then return not is_less(right, left, size, SIGN) end
    return to_number(x) <= to_number(y)
  end

  function bint.ult(x, y)
    return is_less(integral(x), integral(y), size, 0)
  end

  function bint.ule(x, y)
    return not is_less(integral(y), integral(x), size, 0)
  end

  function bint.max(x, y)
    local left, right = to_bint(x), to_bint(y)
    if left and right then return bint.new(left > right and left or right) end
    return bint.parse(math.max(x, y))
  end

  function bint.min(x, y)
    local left, right = to_bint(x), to_bint(y)
    if left and right then return bint.new(left < right and left or right) end
    return bint.parse(math.min(x, y))
  end
end

return function(bint, size, integral)
  add_steps(bint, size)
  add_signs(bint, size)
  add_sums_and_products(bint, size, integral)
  add_powers(bint, integral)
  add_order(bint, size, integral)
end
