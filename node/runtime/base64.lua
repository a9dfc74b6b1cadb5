-- Bytes as base64 text and back.
local base64 = {}

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local letters, values = {}, {}
for value = 0, 63 do
  local letter = alphabet:sub(value + 1, value + 1)
  letters[value], values[letter] = letter, value
end
-- What URLs use in place of + and /.
values["-"], values["_"] = 62, 63

function base64.encode(bytes)
  local parts = {}
  for at = 1, #bytes, 3 do
    local a, b, c = bytes:byte(at, at + 2)
    local word = a << 16 | (b or 0) << 8 | (c or 0)
    parts[#parts + 1] = letters[word >> 18] .. letters[word >> 12 & 63] .. (b and letters[word >> 6 & 63] or "=")
      .. (c and letters[word & 63] or "=")
  end
  return table.concat(parts)
end

function base64.decode(text)
  local parts, word, bits = {}, 0, 0
  for letter in text:gmatch("[%w+/_-]") do
    word, bits = (word << 6 | values[letter]) & 0xffffff, bits + 6
    if bits >= 8 then
      bits = bits - 8
      parts[#parts + 1] = string.char(word >> bits & 255)
    end
  end
  return table.concat(parts)
end

return base64
