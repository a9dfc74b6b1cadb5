//! What programs of aos require, typed into a process of our runtime. The results of the crypto modules are those that
//! aos's own tests expect; of big integers and random numbers, those of the libraries that aos carries.

// Clippy takes only the test functions themselves for tests, not what they call.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ao_node::vm::{Env, Launcher, Limits, Message, Program, Worker, runtime};
use ao_protocol::tag::Tag;

/// A line of Lua, and what the console shows.
const LINES: &[(&str, &str)] = &[
    ("crypto = require('.crypto') str = crypto.utils.stream.fromString", ""),
    ("crypto.digest.md2(str('ao')).asHex()", "0d4e80edd07bee6c7965b21b25a9b1ea"),
    ("crypto.digest.md4('abc').asHex()", "a448017aaf21d8525fc10ae87aa6729d"),
    ("crypto.digest.md5(str('ao')).asHex()", "adac5e63f80f8629e9573527b25891d3"),
    ("crypto.digest.sha1(str('abc')).asHex()", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    (
        "crypto.digest.sha2_256({ 97, 98, 99 }).asHex()",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ),
    ("#crypto.digest.sha2_512('abc').asBytes() .. crypto.digest.sha2_512('abc').asHex():sub(1, 8)", "8ddaf35a1"),
    ("crypto.digest.sha3_256('abc').asHex():sub(1, 16)", "3a985da74fe225b2"),
    ("crypto.digest.keccak256('abc').asHex():sub(1, 16)", "4e03657aea45a94f"),
    ("#crypto.digest.keccak512('').asString() + #crypto.digest.sha3_512('').asHex()", "192"),
    (
        "crypto.digest.blake2b('abc', 16).asHex() .. #crypto.digest.blake2b('abc').asBytes()",
        "cf4ab791c62b8d2b2109c9027528781664",
    ),
    ("key = crypto.utils.array.fromString('super_secret_key')", ""),
    ("crypto.mac.createHmac(str('ao'), key).asHex()", "3966f45acb53f7a1a493bae15afecb1a204fa32d"),
    (
        "crypto.mac.createHmac(str(''), key, 'sha256').asHex()",
        "542da02a324155d688c7689669ff94c6a5f906892aa8eccd7284f210ac66e2a7",
    ),
    ("crypto.mac.hmac('ao', key).asHex()", "766b699f5f323d65e565ddab204370bf405b10ad"),
    ("select(2, pcall(crypto.mac.createHmac, 'ao', key, 'md6')):match('there are.*')", "there are sha1, sha256"),
    (
        "crypto.kdf.pbkdf2(crypto.utils.array.fromString('password'), crypto.utils.array.fromString('salt'), 4, 16).asHex()",
        "C4C21BF2BBF61541408EC2A49C89B9C6",
    ),
    ("aes, k = crypto.cipher.aes, 'super_secret_shh'", ""),
    ("aes.encrypt('ao', k, k, 'CBC', 128).asHex()", "A3B9E6E1FBD9D46930E5F76807C84B8E"),
    ("aes.encrypt('ao', k, '', 'ECB', 128).asHex()", "3FF54BD61AD1AA06BC367A10575CC7C5"),
    ("aes.encrypt('ao', k, k, 'CFB', 128).asHex()", "1DA7169C093D6B23160B6785B28E4BED"),
    ("aes.encrypt('ao', k, k, 'OFB', 128).asHex()", "1DA7169C093D6B23160B6785B28E4BED"),
    ("aes.encrypt('ao', k, k, 'CTR', 128).asHex()", "1DA7169C093D6B23160B6785B28E4BED"),
    ("aes.decrypt('A3B9E6E1FBD9D46930E5F76807C84B8E', k, k, 'CBC', 128).asHex()", "616F0000000000000000000000000000"),
    ("select(2, pcall(aes.encrypt, 'ao', 'short')):match('the key.*')", "the key must have 16 bytes, got 5"),
    ("crypto.cipher.issac.encrypt('ao', 'secret_key').asHex()", "7851"),
    ("crypto.cipher.issac.decrypt('xQ', 'secret_key')", "ao"),
    (
        "crypto.random(1, 6, 'seed') == crypto.random(1, 6, 'seed') and math.type(crypto.random(1, 6)) == 'integer'",
        "true",
    ),
    ("crypto.cipher.morus.encrypt(k, ('0'):rep(16), 'ao', '').asHex()", "514ed31473d8fb0b76c6cbb17af35ed01d0a"),
    (
        "crypto.cipher.morus.decrypt(k, ('0'):rep(16), crypto.utils.hex.hexToString('514ed31473d8fb0b76c6cbb17af35ed01d0a'), 0)",
        "ao",
    ),
    (
        "crypto.cipher.norx.encrypt('super_duper_secret_password_shhh', ('0'):rep(32), 'ao', 'ao', 'ao').asHex()",
        "0bb35a06938e6541eccd4440adb7b46118535f60b09b4adf378807a53df19fc4ea28",
    ),
    (
        "require('.crypto.util.hex').stringToHex('ao') .. require('.crypto.digest.sha1').sha1('').asHex():sub(1, 4)",
        "616fda39",
    ),
    ("require('.crypto.util.bit').bxor(5, 3) .. require('.crypto.init').kdf._version", "60.0.1"),
    ("require('.crypto.mac.hmac').hmac('ao', key).asHex():sub(1, 8)", "3966f45a"),
    ("bint = require('.bint')(256)", ""),
    ("bint('123456789012345678901234567890') * bint('987654321')", "121932631124828532112482853211126352690"),
    (
        "tostring(bint.ipow(2, 200) // 7) .. ' ' .. tostring(bint(-7) // 2) .. ' ' .. tostring(bint(-7) % 2)",
        "229562577751284325077423156048737514646028999111827547900196 -4 1",
    ),
    ("bint('5') == bint(5) and bint('0x10') < bint(17) and require('.bint')() == bint", "true"),
    ("tostring(bint.__le('10', 9))", "false"),
    ("{ bint(3), bint(4) }", "{\n   3,\n   4\n}"),
    (
        "chance = require('.chance') chance.seed(42) return chance.integer(1, 100) .. ' ' .. chance.random()",
        "38 0.79654298420064",
    ),
    ("require('.base64').decode(require('.base64').encode('any carnal pleas'))", "any carnal pleas"),
    ("require('json').encode(require('json').decode('[1,{\"a\":null}]'))", "[1,[]]"),
    ("require('.pretty').tprint({ a = { 1 } })", "a: \n 1: 1\n"),
    (
        "type(require('.stringify').format) .. type(require('.utils').map) .. type(require('ao').send)",
        "functionfunctionfunction",
    ),
    ("require('.ao') == ao and require('.handlers') == Handlers and require('.dump') ~= nil", "true"),
    ("Utils.reduce(function(a, b) return a + b end, 0, Utils.map(function(x) return x * 2 end, { 1, 2, 3 }))", "12"),
];

fn without_colours(text: &str) -> String {
    let mut shown = text.to_string();
    while let Some(start) = shown.find('\u{1b}') {
        let end = start + shown[start..].find('m').unwrap();
        shown.replace_range(start..=end, "");
    }
    shown
}

#[tokio::test]
async fn every_library_gives_what_programs_expect() {
    let program = Program {
        source: runtime::source(),
        env: Env::default(),
        limits: Limits { memory_bytes: 64 << 20, instructions: 100_000_000 },
    };
    let mut worker = Worker::start(&Launcher::new(env!("CARGO_BIN_EXE_ao-node")), &program).await.unwrap();
    let mut wrong = Vec::new();
    for (slot, (line, expected)) in (0..).zip(LINES) {
        let message = Message {
            id: Some("the-message".into()),
            data: Some(line.as_bytes().to_vec()),
            tags: vec![Tag::new("Action", "Eval")],
            timestamp: 1_700_000_000_000,
            ..Message::default()
        };
        let outcome = worker.apply(slot, &[message]).await.unwrap().remove(0);
        let output: serde_json::Value = serde_json::from_str(&outcome.output).unwrap_or_default();
        let shown = without_colours(output["data"].as_str().unwrap_or_default());
        if outcome.error.is_some() || shown != *expected {
            wrong.push(format!("{line}: {shown:?} {:?}, not {expected:?}", outcome.error));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
