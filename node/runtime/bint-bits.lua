-- Big integers as rows of bits.
local WORD = 0xffffffff
local WORD_BITS = 32

-- Both move the words themselves, by less than all bits or so that nothing is left.
local function move_up(words, count, size)
  local whole, bits = count // WORD_BITS, count % WORD_BITS
  for place = size, 1, -1 do
    local word, lower = words[place - whole] or 0, words[place - whole - 1] or 0
    words[place] = (word << bits | lower >> WORD_BITS - bits) & WORD
  end
  return words
end

local function move_down(words, count, size)
  local whole, bits = count // WORD_BITS, count % WORD_BITS
  for place = 1, size do
    local word, higher = words[place + whole] or 0, words[place + whole + 1] or 0
    words[place] = (word >> bits | higher << WORD_BITS - bits) & WORD
  end
  return words
end

local function count_of(bint, x)
  return bint.tointeger(x) or error("value has no integer representation", 0)
end

local function add_shifts(bint, size, integral)
  function bint:_shlone()
    return move_up(self, 1, size)
  end

  function bint:_shrone()
    return move_down(self, 1, size)
  end

  function bint:_shlwords(count)
    return move_up(self, count * WORD_BITS, size)
  end

  function bint:_shrwords(count)
    return move_down(self, count * WORD_BITS, size)
  end

  local function shift(x, count)
    local value = bint.new(x)
    if count <= -bint.bits or count >= bint.bits then return bint.zero() end
    if count < 0 then return move_down(value, -count, size) end
    return move_up(value, count, size)
  end

  function bint.__shl(x, y)
    return shift(x, count_of(bint, y))
  end

  function bint.__shr(x, y)
    local count = count_of(bint, y)
    -- The least integer has no counterpart; it moves everything out either way.
    return shift(x, -math.max(count, -math.maxinteger))
  end

  -- The lowest bits.
  function bint.bwrap(x, count)
    local value = integral(x)
    if count <= 0 then return bint.zero() end
    return count < bint.bits and value & (bint.one() << count):_dec() or bint.new(value)
  end
end

local function add_rotations(bint, integral)
  local bits = bint.bits

  -- A count above all bits moves by what it is above and brings nothing back in: programs know it so from lua-bint.
  function bint.brol(x, y)
    local value, count = integral(x), count_of(bint, y)
    if count > 0 then return value << count | value >> bits - count end
    if count == 0 or count == math.mininteger then return value end
    return bint.bror(value, -count)
  end

  function bint.bror(x, y)
    local value, count = integral(x), count_of(bint, y)
    if count > 0 then return value >> count | value << bits - count end
    if count == 0 or count == math.mininteger then return value end
    return bint.brol(value, -count)
  end
end

local function add_logic(bint, size, integral)
  function bint:_band(y)
    y = integral(y)
    for place = 1, size do self[place] = self[place] & y[place] end
    return self
  end

  function bint:_bor(y)
    y = integral(y)
    for place = 1, size do self[place] = self[place] | y[place] end
    return self
  end

  function bint:_bxor(y)
    y = integral(y)
    for place = 1, size do self[place] = self[place] ~ y[place] end
    return self
  end

  function bint:_bnot()
    for place = 1, size do self[place] = ~self[place] & WORD end
    return self
  end

  function bint.__band(x, y)
    return bint.new(x):_band(y)
  end

  function bint.__bor(x, y)
    return bint.new(x):_bor(y)
  end

  function bint.__bxor(x, y)
    return bint.new(x):_bxor(y)
  end

  function bint.__bnot(x)
    return x:tobint(true):_bnot()
  end
end

return function(bint, size, integral)
  add_shifts(bint, size, integral)
  add_rotations(bint, integral)
  add_logic(bint, size, integral)
end
