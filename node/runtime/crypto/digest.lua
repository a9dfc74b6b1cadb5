-- Digests by the names that programs use. Data may be a text, a list of bytes or a stream of them.
local host = require("ao.crypto")
local util = require(".crypto.util")

local digest = { _version = "0.0.1" }

for _, name in ipairs {
  "md2", "md4", "md5", "sha1", "sha2_256", "sha2_512", "sha3_256", "sha3_512", "keccak256", "keccak512",
} do
  digest[name] = function(data) return util.result(host.digest(name, util.text_of(data, "data"))) end
end

local sha2_512 = digest.sha2_512

-- aos gives the bytes of this one as eight numbers of 64 bits.
function digest.sha2_512(data)
  local result = sha2_512(data)
  function result.asBytes()
    local words = { (">i8i8i8i8i8i8i8i8"):unpack(result.asString()) }
    -- What `unpack` gives last is a position.
    words[#words] = nil
    return words
  end
  return result
end

-- And of this one as letters.
function digest.blake2b(data, length, key)
  local bytes = host.blake2b(util.text_of(data, "data"), length or 64, key and util.text_of(key, "key") or "")
  local result = util.result(bytes)
  function result.asBytes()
    local letters = {}
    for place = 1, #bytes do letters[place] = bytes:sub(place, place) end
    return letters
  end
  return result
end

return digest
