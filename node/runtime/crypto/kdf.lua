-- Keys from passwords: PBKDF2 of RFC 8018.
local host = require("ao.crypto")
local util = require(".crypto.util")

local kdf = { _version = "0.0.1" }
local digests = { sha1 = "sha1", sha256 = "sha2_256" }

function kdf.pbkdf2(password, salt, iterations, key_length, digest)
  local name = digests[digest or "sha1"]
  if not name then error("Unsupported algorithm: " .. tostring(digest) .. "; there are sha1, sha256", 2) end
  password, salt = util.text_of(password, "password"), util.text_of(salt, "salt")
  return util.result(host.pbkdf2(name, password, salt, iterations, key_length), true)
end

return kdf
