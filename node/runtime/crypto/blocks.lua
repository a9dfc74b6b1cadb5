-- AES by single blocks of 16 bytes, for the modes of `.crypto.cipher.mode`. Keys and blocks are lists of bytes.
local host = require("ao.crypto")
local array = require(".crypto.util").array

local function cipher(key_bytes)
  local function run(encrypting, key, block)
    local text = array.toString(array.truncate(key, key_bytes))
    return array.fromString(host.aes("ECB", encrypting, text, "", array.toString(block)))
  end
  return {
    blockSize = 16,
    encrypt = function(key, block) return run(true, key, block) end,
    decrypt = function(key, block) return run(false, key, block) end,
  }
end

return { aes128 = cipher(16), aes192 = cipher(24), aes256 = cipher(32) }
