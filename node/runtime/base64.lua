-- Bytes as base64 text and back.
local base64 = {}

-- What an encoder has for padding, after the 64 letters.
local PADDING = 64

-- The bytes by which the values 0 to 63 and the padding are written. The last three may be others than + / and =.
function base64.makeencoder(plus, slash, padding)
  local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
  local encoder = {}
  for value = 0, 61 do encoder[value] = letters:byte(value + 1) end
  encoder[62], encoder[63], encoder[PADDING] = (plus or "+"):byte(), (slash or "/"):byte(), (padding or "="):byte()
  return encoder
end

function base64.makedecoder(plus, slash, padding)
  local decoder = {}
  for value, byte in pairs(base64.makeencoder(plus, slash, padding)) do decoder[byte] = value end
  return decoder
end

local default_encoder, default_decoder = base64.makeencoder(), base64.makedecoder()
-- What URLs use in place of + and /.
default_decoder[("-"):byte()], default_decoder[("_"):byte()] = 62, 63

function base64.encode(bytes, encoder)
  encoder = encoder or default_encoder
  local parts = {}
  for at = 1, #bytes, 3 do
    local a, b, c = bytes:byte(at, at + 2)
    local word = a << 16 | (b or 0) << 8 | (c or 0)
    parts[#parts + 1] = string.char(encoder[word >> 18], encoder[word >> 12 & 63],
      encoder[b and word >> 6 & 63 or PADDING], encoder[c and word & 63 or PADDING])
  end
  return table.concat(parts)
end

-- Characters that stand for nothing are left out, such as line breaks.
function base64.decode(text, decoder)
  decoder = decoder or default_decoder
  local parts, word, bits = {}, 0, 0
  for at = 1, #text do
    local value = decoder[text:byte(at)]
    if value and value < PADDING then
      word, bits = (word << 6 | value) & 0xffffff, bits + 6
      if bits >= 8 then
        bits = bits - 8
        parts[#parts + 1] = string.char(word >> bits & 255)
      end
    end
  end
  return table.concat(parts)
end

return base64
