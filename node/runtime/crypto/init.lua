-- Digests, ciphers, authentication codes and keys: `require(".crypto")`.
local issac = require(".crypto.cipher.issac")

return {
  _version = "0.0.1",
  digest = require(".crypto.digest"),
  cipher = require(".crypto.cipher"),
  mac = require(".crypto.mac"),
  kdf = require(".crypto.kdf"),
  random = issac.random,
  utils = require(".crypto.util"),
}
