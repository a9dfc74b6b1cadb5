//! Our aos-compatible process runtime (`node/runtime/`) as one module source.
//!
//! Every byte of it is part of the runtime's module item, whose id follows from it: a change makes a new module.

/// Names for `require`, and sources, in the order in which they are bundled.
const MODULES: [(&str, &str); 41] = [
    (".colors", include_str!("../../runtime/colors.lua")),
    ("json", include_str!("../../runtime/json.lua")),
    (".stringify", include_str!("../../runtime/stringify.lua")),
    (".dump", include_str!("../../runtime/dump.lua")),
    (".matching", include_str!("../../runtime/matching.lua")),
    (".utils", include_str!("../../runtime/lists.lua")),
    (".handlers-utils", include_str!("../../runtime/handlers-utils.lua")),
    (".handlers", include_str!("../../runtime/handlers.lua")),
    (".name-set", include_str!("../../runtime/name-set.lua")),
    ("ao", include_str!("../../runtime/ao.lua")),
    (".message", include_str!("../../runtime/message.lua")),
    (".answers", include_str!("../../runtime/answers.lua")),
    (".built-in", include_str!("../../runtime/built-in.lua")),
    (".assignment", include_str!("../../runtime/assignment.lua")),
    (".base64", include_str!("../../runtime/base64.lua")),
    (".bint", include_str!("../../runtime/bint.lua")),
    (".bint-values", include_str!("../../runtime/bint-values.lua")),
    (".bint-text", include_str!("../../runtime/bint-text.lua")),
    (".bint-arithmetic", include_str!("../../runtime/bint-arithmetic.lua")),
    (".bint-division", include_str!("../../runtime/bint-division.lua")),
    (".bint-bits", include_str!("../../runtime/bint-bits.lua")),
    (".chance", include_str!("../../runtime/chance.lua")),
    (".crypto.util", include_str!("../../runtime/crypto/bytes.lua")),
    (".crypto.digest", include_str!("../../runtime/crypto/digest.lua")),
    (".crypto.mac", include_str!("../../runtime/crypto/mac.lua")),
    (".crypto.kdf", include_str!("../../runtime/crypto/kdf.lua")),
    (".crypto.cipher.aes", include_str!("../../runtime/crypto/aes.lua")),
    (".crypto.cipher.issac", include_str!("../../runtime/crypto/issac.lua")),
    (".crypto.cipher.morus", include_str!("../../runtime/crypto/morus.lua")),
    (".crypto.cipher.norx", include_str!("../../runtime/crypto/norx.lua")),
    (".crypto.cipher.blocks", include_str!("../../runtime/crypto/blocks.lua")),
    (".crypto.cipher.mode", include_str!("../../runtime/crypto/modes.lua")),
    (".crypto.padding.zero", include_str!("../../runtime/crypto/zero-padding.lua")),
    (".crypto.cipher", include_str!("../../runtime/crypto/cipher.lua")),
    (".crypto", include_str!("../../runtime/crypto/init.lua")),
    (".pretty", include_str!("../../runtime/pretty.lua")),
    (".eval", include_str!("../../runtime/eval.lua")),
    (".boot", include_str!("../../runtime/boot.lua")),
    (".default", include_str!("../../runtime/default.lua")),
    (".apm", include_str!("../../runtime/apm.lua")),
    (".process", include_str!("../../runtime/process.lua")),
];

/// Further names that programs require, and what they stand for.
const ALIASES: [(&str, &str); 30] = [
    (".ao", "require('ao')"),
    (".crypto.init", "require('.crypto')"),
    (".crypto.cipher.init", "require('.crypto.cipher')"),
    (".crypto.cipher.aes128", "require('.crypto.cipher.blocks').aes128"),
    (".crypto.cipher.aes192", "require('.crypto.cipher.blocks').aes192"),
    (".crypto.cipher.aes256", "require('.crypto.cipher.blocks').aes256"),
    (".crypto.cipher.mode.cbc", "require('.crypto.cipher.mode').cbc"),
    (".crypto.cipher.mode.cfb", "require('.crypto.cipher.mode').cfb"),
    (".crypto.cipher.mode.ctr", "require('.crypto.cipher.mode').ctr"),
    (".crypto.cipher.mode.ecb", "require('.crypto.cipher.mode').ecb"),
    (".crypto.cipher.mode.ofb", "require('.crypto.cipher.mode').ofb"),
    (".crypto.digest.init", "require('.crypto.digest')"),
    (".crypto.digest.blake2b", "require('.crypto.digest').blake2b"),
    (".crypto.digest.md2", "require('.crypto.digest').md2"),
    (".crypto.digest.md4", "require('.crypto.digest').md4"),
    (".crypto.digest.md5", "require('.crypto.digest').md5"),
    (".crypto.digest.sha1", "require('.crypto.digest')"),
    (".crypto.digest.sha2_256", "require('.crypto.digest')"),
    (".crypto.digest.sha2_512", "require('.crypto.digest').sha2_512"),
    (".crypto.digest.sha3", "require('.crypto.digest')"),
    (".crypto.kdf.init", "require('.crypto.kdf')"),
    (".crypto.kdf.pbkdf2", "require('.crypto.kdf')"),
    (".crypto.mac.init", "require('.crypto.mac')"),
    (".crypto.mac.hmac", "{ hmac = require('.crypto.mac').createHmac }"),
    (".crypto.util.init", "require('.crypto.util')"),
    (".crypto.util.bit", "bit32"),
    (".crypto.util.array", "require('.crypto.util').array"),
    (".crypto.util.hex", "require('.crypto.util').hex"),
    (".crypto.util.queue", "require('.crypto.util').queue"),
    (".crypto.util.stream", "require('.crypto.util').stream"),
];

/// The runtime as the data of a module item: each source as a function that `require` runs when it is first asked
/// for, and at the end the one that defines `handle`.
pub fn source() -> String {
    let mut source = String::new();
    for (name, text) in MODULES {
        source.push_str(&format!("package.preload[\"{name}\"] = function(...)\n{text}end\n"));
    }
    for (name, expression) in ALIASES {
        source.push_str(&format!("package.preload[\"{name}\"] = function() return {expression} end\n"));
    }
    source.push_str("require(\".process\")\n");
    source
}
