-- AES with 128, 192 and 256 bits in the modes CBC, ECB, CFB, OFB and CTR; data is filled up with zeros.
local host = require("ao.crypto")
local util = require(".crypto.util")

local aes = {}
local BLOCK = 16
local modes = { CBC = true, ECB = true, CFB = true, OFB = true, CTR = true }

local function run(encrypting, data, key, iv, mode, key_length)
  mode, key_length = mode or "CBC", key_length or 128
  if not modes[mode] then error("mode must be CBC, ECB, CFB, OFB or CTR, got " .. tostring(mode), 3) end
  if key_length ~= 128 and key_length ~= 192 and key_length ~= 256 then
    error("the length of the key must be 128, 192 or 256, got " .. tostring(key_length), 3)
  end
  key, iv = util.text_of(key, "key"):sub(1, key_length // 8), iv or ("\0"):rep(BLOCK)
  if #key * 8 < key_length then error("the key must have " .. key_length // 8 .. " bytes, got " .. #key, 3) end
  if mode == "ECB" then
    -- It has nothing to begin with: as in aos, what is given for that is data.
    data, iv = iv .. data, ""
  elseif #iv ~= BLOCK then
    error("the initialization vector must have 16 bytes, got " .. #iv, 3)
  end
  data = data .. ("\0"):rep(-#data % BLOCK)
  return util.result(host.aes(mode, encrypting, key, iv, data), true)
end

function aes.encrypt(data, key, iv, mode, key_length)
  return run(true, util.text_of(data, "data"), key, iv, mode, key_length)
end

-- Takes what was encrypted as hexadecimal text.
function aes.decrypt(data, key, iv, mode, key_length)
  return run(false, util.hex.hexToString(data), key, iv, mode, key_length)
end

return aes
