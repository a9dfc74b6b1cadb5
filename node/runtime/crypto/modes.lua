-- Modes that make a cipher of data out of a cipher of blocks, which has `blockSize`, `encrypt` and `decrypt`. The
-- data's first block is what the mode begins with, but in ECB.
local util = require(".crypto.util")
local array = util.array

-- Adds one to the number that the last half of a block is.
local function counted(block)
  local next_block = array.copy(block)
  for place = #block, #block // 2 + 1, -1 do
    next_block[place] = (next_block[place] + 1) & 0xff
    if next_block[place] ~= 0 then break end
  end
  return next_block
end

-- Of each mode what a block becomes, given the one before it, and what the next one is given.
local function keystream(cipher, key, block, last)
  local stream = cipher.encrypt(key, last)
  return array.XOR(stream, block), stream
end

local function count(cipher, key, block, last)
  return array.XOR(cipher.encrypt(key, last), block), counted(last)
end

local steps = {
  cbc = {
    Cipher = function(cipher, key, block, last)
      local result = cipher.encrypt(key, array.XOR(last, block))
      return result, result
    end,
    Decipher = function(cipher, key, block, last)
      return array.XOR(last, cipher.decrypt(key, block)), block
    end,
  },
  cfb = {
    Cipher = function(cipher, key, block, last)
      local result = array.XOR(cipher.encrypt(key, last), block)
      return result, result
    end,
    Decipher = function(cipher, key, block, last)
      return array.XOR(cipher.encrypt(key, last), block), block
    end,
  },
  ecb = {
    Cipher = function(cipher, key, block) return cipher.encrypt(key, block) end,
    Decipher = function(cipher, key, block) return cipher.decrypt(key, block) end,
  },
  ofb = { Cipher = keystream, Decipher = keystream },
  ctr = { Cipher = count, Decipher = count },
}

local function new(step, has_first)
  local self = {}
  local key, cipher, padding, input, output, last

  function self.setKey(bytes) key = bytes return self end
  function self.setBlockCipher(given) cipher = given return self end
  function self.setPadding(given) padding = given return self end

  function self.init()
    input, output, last = util.queue(), util.queue(), nil
    return self
  end

  function self.update(next_byte)
    for byte in next_byte do
      input.push(byte)
      if input.size() >= cipher.blockSize then
        local block, result = array.readFromQueue(input, cipher.blockSize), nil
        if has_first and not last then
          last = block
        else
          result, last = step(cipher, key, block, last)
          array.writeToQueue(output, result)
        end
      end
    end
    return self
  end

  function self.finish() return self.update(padding(cipher.blockSize, input.getHead())) end
  function self.getOutputQueue() return output end
  function self.asBytes() return array.fromStream(output.pop) end
  function self.asString() return array.toString(self.asBytes()) end
  function self.asHex() return array.toHex(self.asBytes()) end
  return self
end

local modes = {}
for name, kinds in pairs(steps) do
  modes[name] = {}
  for kind, step in pairs(kinds) do
    modes[name][kind] = function() return new(step, name ~= "ecb") end
  end
end

return modes
