-- Message authentication codes.
local host = require("ao.crypto")
local util = require(".crypto.util")

local mac = { _version = "0.0.1" }

local digests = { sha1 = "sha1", sha256 = "sha2_256", sha512 = "sha2_512", md5 = "md5" }
-- aos fills keys up to blocks of this size; RFC 2104 asks for the digest's own, 64 bytes and more.
local BLOCK_OF_AOS = 32

local function digest_named(algorithm, allowed)
  local name = digests[algorithm or "sha1"]
  if not name or not allowed:find(algorithm or "sha1", 1, true) then
    error("Unsupported algorithm: " .. tostring(algorithm) .. "; there are " .. allowed, 3)
  end
  return name
end

local function masked(key, mask)
  return (key:gsub(".", function(char) return string.char(char:byte() ~ mask) end))
end

-- As aos computes it, so that programs get what they get there; `hmac` is what everybody else computes.
function mac.createHmac(data, key, algorithm)
  local name = digest_named(algorithm, "sha1, sha256")
  data, key = util.text_of(data, "data"), util.text_of(key, "key")
  if #key > BLOCK_OF_AOS then key = host.digest(name, key) end
  key = key .. ("\0"):rep(BLOCK_OF_AOS - #key)
  local inner = host.digest(name, masked(key, 0x36) .. data)
  return util.result(host.digest(name, masked(key, 0x5c) .. inner))
end

-- RFC 2104.
function mac.hmac(data, key, algorithm)
  local name = digest_named(algorithm, "sha1, sha256, sha512, md5")
  return util.result(host.hmac(name, util.text_of(key, "key"), util.text_of(data, "data")))
end

return mac
