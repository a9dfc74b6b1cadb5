-- Big integers as text in bases from 2 to 36.
-- Text is read and written in chunks of as many digits as fit in 31 bits: 9 decimal ones.
local unpack = table.unpack

local WORD = 0xffffffff
local SIGN = 0x80000000
local MIN_BASE, MAX_BASE = 2, 36
local MAX_CHUNK = 1 << 31
local ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"

-- The most digits whose numbers all stay below `limit`, and how many numbers these are.
local function digits_below(limit, base)
  local digits, numbers = 0, 1
  while numbers <= limit // base do digits, numbers = digits + 1, numbers * base end
  return digits, numbers
end

-- By base: digits in a chunk, the numbers that a chunk can be, and digits in a Lua integer.
local chunk_digits, chunk_numbers, integer_digits = {}, {}, {}
for base = MIN_BASE, MAX_BASE do
  chunk_digits[base], chunk_numbers[base] = digits_below(MAX_CHUNK, base)
  integer_digits[base] = digits_below(math.maxinteger, base)
end

-- Reads digits, more than a chunk, into words that are all zero, and wraps around. Nil if one is no digit of the base.
local function read(digits, base, words, size)
  local step, factor = chunk_digits[base], chunk_numbers[base]
  -- Two chunks fit in a Lua integer. The first of them may be shorter, so that whole ones follow.
  local start = (#digits - 1) % step + 1 + step
  local number, top = tonumber(digits:sub(1, start), base), 2
  if not number then return nil end
  words[1], words[2] = number & WORD, number >> 32
  for first = start + 1, #digits, step do
    local carry = tonumber(digits:sub(first, first + step - 1), base)
    if not carry then return nil end
    for place = 1, top do
      local product = words[place] * factor + carry
      words[place], carry = product & WORD, product >> 32
    end
    if carry > 0 and top < size then
      top = top + 1
      words[top] = carry
    end
  end
  return words
end

-- The digits of a Lua integer that is not negative.
local function integer_text(integer, base)
  if base == 10 then return ("%d"):format(integer) end
  if base == 16 then return ("%x"):format(integer) end
  local text = ""
  repeat
    local digit = integer % base + 1
    text = ALPHABET:sub(digit, digit) .. text
    integer = integer // base
  until integer == 0
  return text
end

-- Whether the words up to `top`, at least two, are a Lua integer that is not negative.
local function is_integer(words, top)
  return top == 2 and words[2] < SIGN
end

-- Divides words by a number of at most 31 bits. Returns the remainder.
local function divide(words, top, divisor)
  local rest = 0
  for place = top, 1, -1 do
    local part = rest << 32 | words[place]
    local quotient = part // divisor
    words[place], rest = quotient, part - quotient * divisor
  end
  return rest
end

-- The digits of words, taken as a number without sign.
local function write(words, base, size)
  local top = size
  while top > 2 and words[top] == 0 do top = top - 1 end
  local text, step, divisor = "", chunk_digits[base], chunk_numbers[base]
  if not is_integer(words, top) then words = { unpack(words, 1, top) } end
  while not is_integer(words, top) do
    local chunk = integer_text(divide(words, top, divisor), base)
    text = ("0"):rep(step - #chunk) .. chunk .. text
    if top > 2 and words[top] == 0 then top = top - 1 end
  end
  return integer_text(words[1] | words[2] << 32, base) .. text
end

return function(bint, size)
  -- Nil for what is no number in the base. Short texts are read by Lua, which lets blanks stand around them.
  function bint.frombase(text, base)
    base = base or 10
    if type(text) ~= "string" or not (base >= MIN_BASE and base <= MAX_BASE) then return nil end
    if #text < integer_digits[base] then return bint.frominteger(tonumber(text, base)) end
    local sign, digits = text:match("^([+-]?)(%w+)$")
    local value = digits and read(digits, base, bint.zero(), size)
    return value and sign == "-" and value:_unm() or value
  end

  -- Decimal, hexadecimal after `0x`, binary after `0b`.
  function bint.fromstring(text)
    if type(text) ~= "string" then return nil end
    if text:find("^[+-]?%d+$") then return bint.frombase(text, 10) end
    local sign, kind, digits = text:match("^([+-]?)0([xXbB])(%x+)$")
    return sign and bint.frombase(sign .. digits, kind:lower() == "x" and 16 or 2)
  end

  -- With a sign in base 10; as the number that the bits are without sign in others, unless `unsigned` says otherwise.
  function bint.tobase(x, base, unsigned)
    x, base = bint.tobint(x), base or 10
    if not x or not (base >= MIN_BASE and base <= MAX_BASE) then return nil end
    if unsigned == nil then unsigned = base ~= 10 end
    if unsigned or not x:isneg() then return write(x, base, size) end
    return "-" .. write(-x, base, size)
  end

  function bint:__tostring()
    return self:tobase(10)
  end
end
