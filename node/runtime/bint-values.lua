-- Big integers from other values, back to them, and questions about them.
local math_tointeger, unpack = math.tointeger, table.unpack

local WORD = 0xffffffff
local SIGN = 0x80000000
local BYTES_PER_WORD = 4

local function add_constructors(bint, size)
  local zeros, ones = {}, {}
  for place = 1, size do zeros[place], ones[place] = 0, WORD end

  -- A table made of all words at once has its final size from the start; all copies are made so.
  function bint.zero()
    return setmetatable({ unpack(zeros, 1, size) }, bint)
  end

  function bint.frominteger(x)
    local integer = math_tointeger(x)
    if not integer then return nil end
    local words = { unpack(integer < 0 and ones or zeros, 1, size) }
    words[1], words[2] = integer & WORD, integer >> 32
    return setmetatable(words, bint)
  end

  -- Takes the bits of a negative integer for those of a number from 2^63.
  function bint.fromuinteger(x)
    local integer = math_tointeger(x)
    if not integer then return nil end
    local words = { unpack(zeros, 1, size) }
    words[1], words[2] = integer & WORD, integer >> 32
    return setmetatable(words, bint)
  end

  function bint.one()
    return bint.frominteger(1)
  end

  function bint.mininteger()
    local words = { unpack(zeros, 1, size) }
    words[size] = SIGN
    return setmetatable(words, bint)
  end

  function bint.maxinteger()
    local words = { unpack(ones, 1, size) }
    words[size] = WORD ~ SIGN
    return setmetatable(words, bint)
  end
end

-- Conversions that take values of any type. Returns the one that insists on an integer.
local function add_conversions(bint, size)
  local from_integer = bint.frominteger

  local function copy(x)
    return setmetatable({ unpack(x, 1, size) }, bint)
  end

  -- The integer that a value stands for, or nil. A bint is only copied when asked for.
  local function to_bint(x, clone)
    if getmetatable(x) == bint then return clone and copy(x) or x end
    local kind = type(x)
    if kind == "number" then return from_integer(x) end
    if kind == "string" then return bint.fromstring(x) end
    return nil
  end
  bint.tobint = to_bint

  function bint.new(x)
    return to_bint(x, true) or error("value cannot be represented by a bint", 0)
  end

  function bint.parse(x, clone)
    return to_bint(x, clone) or tonumber(x)
  end

  function bint.trunc(x)
    if getmetatable(x) == bint then return copy(x) end
    local number = tonumber(x)
    return number and from_integer((math.modf(number)))
  end

  function bint.floor(x)
    return bint.new(getmetatable(x) == bint and x or math.floor(tonumber(x)))
  end

  function bint.ceil(x)
    return bint.new(getmetatable(x) == bint and x or math.ceil(tonumber(x)))
  end

  local function integral(x)
    return to_bint(x) or error("value has not integer representation", 0)
  end

  function bint:_assign(y)
    y = integral(y)
    for place = 1, size do self[place] = y[place] end
    return self
  end
  return integral
end

local function add_lua_numbers(bint, size)
  -- The lowest 64 bits; of anything else the integer that it stands for, or nil.
  local function to_integer(x)
    if getmetatable(x) == bint then return x[1] | x[2] << 32 end
    return math_tointeger(x)
  end
  bint.tointeger = to_integer
  -- The two differ in how they read a Lua integer, not in its bits.
  bint.touinteger = to_integer

  local function fits_in_integer(x)
    local extension = x[2] < SIGN and 0 or WORD
    for place = size, 3, -1 do
      if x[place] ~= extension then return false end
    end
    return true
  end

  -- An integer if it fits, otherwise the nearest float, which Lua finds in the decimal digits.
  function bint.tonumber(x)
    if getmetatable(x) ~= bint then return tonumber(x) end
    return fits_in_integer(x) and to_integer(x) or tonumber(bint.__tostring(x))
  end
end

local function check_buffer(buffer)
  if type(buffer) ~= "string" then error("buffer is not a string", 0) end
end

local function add_bytes(bint, size, integral)
  local bytes, format = size * BYTES_PER_WORD, "<" .. ("I4"):rep(size)

  -- Missing bytes are zero, surplus ones, which are the highest, are dropped.
  function bint.fromle(buffer)
    check_buffer(buffer)
    local words = { format:unpack(buffer:sub(1, bytes) .. ("\0"):rep(bytes - #buffer)) }
    -- Behind the words there is the position where reading ended.
    words[size + 1] = nil
    return setmetatable(words, bint)
  end

  function bint.frombe(buffer)
    check_buffer(buffer)
    return bint.fromle(buffer:reverse())
  end

  -- All bytes, or with `trim` those up to the highest that is not zero, but at least one.
  function bint.tole(x, trim)
    local buffer = format:pack(unpack(integral(x), 1, size))
    if not trim then return buffer end
    local trimmed = buffer:gsub("\0+$", "")
    return trimmed == "" and "\0" or trimmed
  end

  function bint.tobe(x, trim)
    return bint.tole(x, trim):reverse()
  end
end

local function add_type_questions(bint)
  function bint.isbint(x)
    return getmetatable(x) == bint
  end

  function bint.isintegral(x)
    return getmetatable(x) == bint or math.type(x) == "integer"
  end

  function bint.isnumeric(x)
    return getmetatable(x) == bint or type(x) == "number"
  end

  function bint.type(x)
    return getmetatable(x) == bint and "bint" or math.type(x)
  end
end

local function add_number_questions(bint, size)
  -- Whether the first word is `first` and all others are `others`.
  local function consists_of(x, first, others)
    for place = size, 2, -1 do
      if x[place] ~= others then return false end
    end
    return x[1] == first
  end

  function bint.iszero(x)
    if getmetatable(x) ~= bint then return x == 0 end
    return consists_of(x, 0, 0)
  end

  function bint.isone(x)
    if getmetatable(x) ~= bint then return x == 1 end
    return consists_of(x, 1, 0)
  end

  function bint.isminusone(x)
    if getmetatable(x) ~= bint then return x == -1 end
    return consists_of(x, WORD, WORD)
  end

  function bint.isneg(x)
    if getmetatable(x) ~= bint then return x < 0 end
    return x[size] >= SIGN
  end

  function bint.ispos(x)
    if getmetatable(x) ~= bint then return x > 0 end
    return x[size] < SIGN and not consists_of(x, 0, 0)
  end

  function bint.iseven(x)
    if getmetatable(x) ~= bint then return math.abs(x) % 2 == 0 end
    return x[1] & 1 == 0
  end

  function bint.isodd(x)
    if getmetatable(x) ~= bint then return math.abs(x) % 2 == 1 end
    return x[1] & 1 == 1
  end
end

return function(bint, size)
  add_constructors(bint, size)
  local integral = add_conversions(bint, size)
  add_lua_numbers(bint, size)
  add_bytes(bint, size, integral)
  add_type_questions(bint)
  add_number_questions(bint, size)
  return integral
end
