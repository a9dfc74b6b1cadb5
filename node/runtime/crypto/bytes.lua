-- What the other crypto modules, and programs, handle bytes with: texts, lists of bytes, streams (functions that give
-- the next byte, nil at the end), queues and hexadecimal text.
local util = { _version = "0.0.1", bit = bit32 }

-- `string.byte` gives that many values at once: the stack is not for whole texts.
local PIECE = 4096

local array, stream, hex = {}, {}, {}
util.array, util.stream, util.hex = array, stream, hex

function util.queue()
  local items, first, next_place = {}, 0, 0
  local queue = {}
  function queue.push(item)
    items[next_place] = item
    next_place = next_place + 1
  end
  function queue.pop()
    if first == next_place then return nil end
    local item = items[first]
    items[first] = nil
    first = first + 1
    return item
  end
  function queue.size() return next_place - first end
  function queue.getHead() return next_place end
  function queue.getTail() return first end
  function queue.reset() items, first, next_place = {}, 0, 0 end
  return queue
end

function array.size(bytes) return #bytes end

function array.fromString(text)
  local bytes = {}
  for start = 1, #text, PIECE do
    local piece = { text:byte(start, start + PIECE - 1) }
    table.move(piece, 1, #piece, start, bytes)
  end
  return bytes
end

function array.toString(bytes)
  local pieces = {}
  for start = 1, #bytes, PIECE do
    pieces[#pieces + 1] = string.char(table.unpack(bytes, start, math.min(start + PIECE - 1, #bytes)))
  end
  return table.concat(pieces)
end

function array.fromStream(next_byte)
  local bytes = {}
  for byte in next_byte do bytes[#bytes + 1] = byte end
  return bytes
end

function array.toStream(bytes)
  local place = 0
  return function()
    place = place + 1
    return bytes[place]
  end
end

function array.readFromQueue(queue, size)
  local bytes = {}
  for place = 1, size do bytes[place] = queue.pop() end
  return bytes
end

function array.writeToQueue(queue, bytes)
  for _, byte in ipairs(bytes) do queue.push(byte) end
end

function array.fromHex(text) return array.fromString(hex.hexToString(text)) end
function array.toHex(bytes) return hex.stringToHex(array.toString(bytes)):upper() end
function array.copy(bytes) return table.move(bytes, 1, #bytes, 1, {}) end
function array.truncate(bytes, size) return table.move(bytes, 1, size, 1, {}) end
function array.concat(one, other) return table.move(other, 1, #other, #one + 1, array.copy(one)) end

function array.slice(bytes, start, stop)
  start, stop = start or 1, stop or #bytes
  if start < 0 then start = #bytes + start + 1 end
  if stop < 0 then stop = #bytes + stop + 1 end
  return table.move(bytes, start, stop, 1, {})
end

function array.XOR(one, other)
  local result = {}
  for place, byte in pairs(one) do result[place] = byte ~ other[place] end
  return result
end

function array.substitute(input, box)
  local result = {}
  for place, byte in pairs(input) do result[place] = box[byte] end
  return result
end

function array.permute(input, box)
  local result = {}
  for place, from in pairs(box) do result[place] = input[from] end
  return result
end

stream.fromArray, stream.toArray = array.toStream, array.fromStream

function stream.fromString(text)
  local place = 0
  return function()
    place = place + 1
    return text:byte(place)
  end
end

function stream.toString(next_byte) return array.toString(array.fromStream(next_byte)) end
function stream.fromHex(text) return stream.fromString(hex.hexToString(text)) end
function stream.toHex(next_byte) return array.toHex(array.fromStream(next_byte)) end

-- Hexadecimal text; with a line length, a separator between bytes and a line break after so many.
function hex.stringToHex(text, line_length, separator)
  local digits = text:gsub(".", function(char) return ("%02x"):format(char:byte()) end)
  if not line_length then return digits end
  local place = 0
  digits = digits:gsub("..", function(pair)
    place = place + 1
    if place == #text then return pair end
    return pair .. (place % line_length == 0 and "\n" or separator or "")
  end)
  return digits
end

-- Bytes of hexadecimal text. Blanks are left out and other characters refused, unless it is known to be well formed.
function hex.hexToString(text, is_known)
  if not is_known then
    text = text:gsub("%s+", "")
    if text:find("%X") or #text % 2 ~= 0 then error("invalid hex string", 2) end
  end
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

-- The text of what programs hand over as data: a text, a list of bytes or a stream of them.
function util.text_of(data, name)
  local kind = type(data)
  if kind == "string" then return data end
  if kind == "function" then return stream.toString(data) end
  if kind == "table" then return array.toString(data) end
  error(name .. " must be a text, a list of bytes or a stream of bytes, got " .. kind, 3)
end

-- What digests and ciphers give: the bytes in three forms.
function util.result(bytes, upper_case)
  return {
    asString = function() return bytes end,
    asBytes = function() return array.fromString(bytes) end,
    asHex = function()
      local digits = hex.stringToHex(bytes)
      return upper_case and digits:upper() or digits
    end,
  }
end

return util
