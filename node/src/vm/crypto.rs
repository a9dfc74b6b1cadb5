//! Digests, message authentication codes, key derivation and AES for programs: `require("ao.crypto")`, which the
//! runtime's `.crypto` is made of. Texts in, texts out; what they cost follows from the sizes alone.

use std::ffi::{CStr, c_char, c_int};

use aes::cipher::{
    AsyncStreamCipher, BlockCipher, BlockDecryptMut, BlockEncrypt, BlockEncryptMut, KeyInit, KeyIvInit, StreamCipher,
    block_padding::NoPadding,
};
use aes::{Aes128, Aes192, Aes256};
use hmac::Mac;
use mlua::ffi::{self, lua_CFunction, lua_State};
use sha2::Digest;
use sha2::digest::core_api::BlockSizeUser;
use sha2::digest::generic_array::typenum::U16;

use super::host::{charge, charge_items, raise};

/// Where programs find the functions among loaded modules, and what their names begin with.
const MODULE: &CStr = c"ao.crypto";
const PREFIX: &CStr = c"ao.crypto.";
/// Instructions charged for a call, and for each byte that it works on: the slowest digest of each kind.
const INSTRUCTIONS_PER_CALL: u64 = 400;
const INSTRUCTIONS_PER_BYTE: u64 = 4;
const INSTRUCTIONS_PER_BYTE_OF_MD2: u64 = 60;
/// Instructions charged for an iteration of a key derivation, for each block of its result.
const INSTRUCTIONS_PER_ITERATION: u64 = 400;
/// Longest derived key in bytes, and the blocks in which it is made (those of SHA-1; of others there are fewer).
const MAX_DERIVED_BYTES: i64 = 4096;
const DERIVED_BLOCK: i64 = 20;
/// Longest result of a digest.
const MAX_DIGEST_BYTES: usize = 64;
/// Size of a block of AES.
const AES_BLOCK: usize = 16;

/// A digest's result: no destructor.
struct Hash {
    bytes: [u8; MAX_DIGEST_BYTES],
    length: usize,
}

impl Hash {
    fn new(bytes: &[u8]) -> Hash {
        let mut hash = Hash { bytes: [0; MAX_DIGEST_BYTES], length: bytes.len().min(MAX_DIGEST_BYTES) };
        hash.bytes[..hash.length].copy_from_slice(&bytes[..hash.length]);
        hash
    }

    unsafe fn push(self, l: *mut lua_State) -> c_int {
        unsafe {
            ffi::lua_pushlstring(l, self.bytes.as_ptr().cast::<c_char>(), self.length);
        }
        1
    }
}

fn digest_of(name: &[u8], data: &[u8]) -> Option<Hash> {
    fn of<D: Digest>(data: &[u8]) -> Hash {
        Hash::new(&D::digest(data))
    }
    Some(match name {
        b"md2" => of::<md2::Md2>(data),
        b"md4" => of::<md4::Md4>(data),
        b"md5" => of::<md5::Md5>(data),
        b"sha1" => of::<sha1::Sha1>(data),
        b"sha2_256" => of::<sha2::Sha256>(data),
        b"sha2_512" => of::<sha2::Sha512>(data),
        b"sha3_256" => of::<sha3::Sha3_256>(data),
        b"sha3_512" => of::<sha3::Sha3_512>(data),
        b"keccak256" => of::<sha3::Keccak256>(data),
        b"keccak512" => of::<sha3::Keccak512>(data),
        _ => return None,
    })
}

fn hmac_of(name: &[u8], key: &[u8], data: &[u8]) -> Option<Hash> {
    fn of<M: Mac + hmac::digest::KeyInit>(key: &[u8], data: &[u8]) -> Option<Hash> {
        let mut mac = <M as Mac>::new_from_slice(key).ok()?;
        mac.update(data);
        Some(Hash::new(&mac.finalize().into_bytes()))
    }
    match name {
        b"md5" => of::<hmac::Hmac<md5::Md5>>(key, data),
        b"sha1" => of::<hmac::Hmac<sha1::Sha1>>(key, data),
        b"sha2_256" => of::<hmac::Hmac<sha2::Sha256>>(key, data),
        b"sha2_512" => of::<hmac::Hmac<sha2::Sha512>>(key, data),
        _ => None,
    }
}

fn blake2b_of(data: &[u8], length: usize, key: &[u8]) -> Option<Hash> {
    use blake2::digest::{Update, VariableOutput};
    let mut bytes = [0; MAX_DIGEST_BYTES];
    let out = bytes.get_mut(..length)?;
    match key.is_empty() {
        true => {
            let mut hasher = blake2::Blake2bVar::new(length).ok()?;
            hasher.update(data);
            hasher.finalize_variable(out).ok()?;
        }
        false => {
            let mut core = blake2::Blake2bVarCore::new_with_params(&[], &[], key.len(), length);
            keyed_blake2b(&mut core, key, data, out);
        }
    }
    Some(Hash::new(&bytes[..length]))
}

/// A key goes before the data, as a block of its own.
fn keyed_blake2b(core: &mut blake2::Blake2bVarCore, key: &[u8], data: &[u8], out: &mut [u8]) {
    use blake2::digest::block_buffer::LazyBuffer;
    use blake2::digest::core_api::{UpdateCore, VariableOutputCore};
    let mut buffer: LazyBuffer<<blake2::Blake2bVarCore as BlockSizeUser>::BlockSize> = LazyBuffer::default();
    let mut block = [0; 128];
    block[..key.len()].copy_from_slice(key);
    for part in [&block[..], data] {
        buffer.digest_blocks(part, |blocks| core.update_blocks(blocks));
    }
    let mut whole = Default::default();
    core.finalize_variable_core(&mut buffer, &mut whole);
    out.copy_from_slice(&whole[..out.len()]);
}

/// Runs a mode of AES over whole blocks in place; false for an unknown one.
fn aes_mode(mode: &[u8], encrypting: bool, key: &[u8], iv: &[u8], data: &mut [u8]) -> bool {
    match key.len() {
        16 => aes_with::<Aes128>(mode, encrypting, key, iv, data),
        24 => aes_with::<Aes192>(mode, encrypting, key, iv, data),
        32 => aes_with::<Aes256>(mode, encrypting, key, iv, data),
        _ => None,
    }
    .is_some()
}

fn aes_with<C>(mode: &[u8], encrypting: bool, key: &[u8], iv: &[u8], data: &mut [u8]) -> Option<()>
where
    C: BlockCipher + BlockEncrypt + BlockEncryptMut + BlockDecryptMut + KeyInit + BlockSizeUser<BlockSize = U16>,
{
    let length = data.len();
    match (mode, encrypting) {
        (b"CBC", true) => {
            cbc::Encryptor::<C>::new_from_slices(key, iv).ok()?.encrypt_padded_mut::<NoPadding>(data, length).ok()?;
        }
        (b"CBC", false) => {
            cbc::Decryptor::<C>::new_from_slices(key, iv).ok()?.decrypt_padded_mut::<NoPadding>(data).ok()?;
        }
        (b"ECB", true) => {
            ecb::Encryptor::<C>::new_from_slice(key).ok()?.encrypt_padded_mut::<NoPadding>(data, length).ok()?;
        }
        (b"ECB", false) => {
            ecb::Decryptor::<C>::new_from_slice(key).ok()?.decrypt_padded_mut::<NoPadding>(data).ok()?;
        }
        (b"CFB", true) => cfb_mode::Encryptor::<C>::new_from_slices(key, iv).ok()?.encrypt(data),
        (b"CFB", false) => cfb_mode::Decryptor::<C>::new_from_slices(key, iv).ok()?.decrypt(data),
        (b"OFB", _) => ofb::Ofb::<C>::new_from_slices(key, iv).ok()?.apply_keystream(data),
        (b"CTR", _) => ctr::Ctr64BE::<C>::new_from_slices(key, iv).ok()?.try_apply_keystream(data).ok()?,
        _ => return None,
    }
    Some(())
}

/// The text at an index, which stays there.
unsafe fn text<'a>(l: *mut lua_State, index: c_int) -> &'a [u8] {
    unsafe {
        let mut length = 0;
        let text = ffi::luaL_checklstring(l, index, &mut length);
        std::slice::from_raw_parts(text.cast::<u8>(), length)
    }
}

unsafe fn charge_bytes(l: *mut lua_State, bytes: usize, each: u64) {
    unsafe {
        charge(l, INSTRUCTIONS_PER_CALL);
        charge_items(l, i64::try_from(bytes).unwrap_or(i64::MAX), each);
    }
}

/// `digest(name, data)`
unsafe extern "C-unwind" fn digest(l: *mut lua_State) -> c_int {
    unsafe {
        let (name, data) = (text(l, 1), text(l, 2));
        let each = if name == b"md2" { INSTRUCTIONS_PER_BYTE_OF_MD2 } else { INSTRUCTIONS_PER_BYTE };
        charge_bytes(l, data.len(), each);
        match digest_of(name, data) {
            Some(hash) => hash.push(l),
            None => raise(l, c"no digest has this name"),
        }
    }
}

/// `hmac(name, key, data)`
unsafe extern "C-unwind" fn hmac(l: *mut lua_State) -> c_int {
    unsafe {
        let (name, key, data) = (text(l, 1), text(l, 2), text(l, 3));
        charge_bytes(l, key.len().saturating_add(data.len()), INSTRUCTIONS_PER_BYTE);
        match hmac_of(name, key, data) {
            Some(hash) => hash.push(l),
            None => raise(l, c"no digest for authentication has this name"),
        }
    }
}

/// `blake2b(data, length, key)`
unsafe extern "C-unwind" fn blake2b(l: *mut lua_State) -> c_int {
    unsafe {
        let (data, length, key) = (text(l, 1), ffi::luaL_checkinteger(l, 2), text(l, 3));
        charge_bytes(l, data.len(), INSTRUCTIONS_PER_BYTE);
        if !(1..=MAX_DIGEST_BYTES as i64).contains(&length) || key.len() > MAX_DIGEST_BYTES {
            raise(l, c"blake2b gives 1 to 64 bytes and takes a key of at most 64");
        }
        match blake2b_of(data, length as usize, key) {
            Some(hash) => hash.push(l),
            None => raise(l, c"blake2b gives 1 to 64 bytes and takes a key of at most 64"),
        }
    }
}

/// `pbkdf2(name, password, salt, iterations, length)`
unsafe extern "C-unwind" fn pbkdf2(l: *mut lua_State) -> c_int {
    unsafe {
        let (name, password, salt) = (text(l, 1), text(l, 2), text(l, 3));
        let (iterations, length) = (ffi::luaL_checkinteger(l, 4), ffi::luaL_checkinteger(l, 5));
        if !(1..=MAX_DERIVED_BYTES).contains(&length) {
            raise(l, c"a derived key has 1 to 4096 bytes");
        }
        let Some(rounds) = u32::try_from(iterations).ok().filter(|rounds| *rounds > 0) else {
            raise(l, c"the number of iterations must be from 1 to 4294967295")
        };
        let blocks = (length + DERIVED_BLOCK - 1) / DERIVED_BLOCK;
        charge_items(l, iterations.saturating_mul(blocks), INSTRUCTIONS_PER_ITERATION);
        charge_bytes(l, password.len().saturating_add(salt.len()), INSTRUCTIONS_PER_BYTE);
        let derived = std::slice::from_raw_parts_mut(ffi::lua_newuserdata(l, length as usize).cast(), length as usize);
        match name {
            b"sha1" => pbkdf2::pbkdf2_hmac::<sha1::Sha1>(password, salt, rounds, derived),
            b"sha2_256" => pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password, salt, rounds, derived),
            _ => raise(l, c"no digest for key derivation has this name"),
        }
        ffi::lua_pushlstring(l, derived.as_ptr().cast::<c_char>(), derived.len());
        1
    }
}

/// `aes(mode, encrypting, key, iv, data)`
unsafe extern "C-unwind" fn aes(l: *mut lua_State) -> c_int {
    unsafe {
        let (mode, encrypting) = (text(l, 1), ffi::lua_toboolean(l, 2) != 0);
        let (key, iv, data) = (text(l, 3), text(l, 4), text(l, 5));
        charge_bytes(l, data.len(), INSTRUCTIONS_PER_BYTE);
        if data.len() % AES_BLOCK != 0 {
            raise(l, c"AES takes data in blocks of 16 bytes");
        }
        let block = ffi::lua_newuserdata(l, data.len()).cast::<u8>();
        let result = std::slice::from_raw_parts_mut(block, data.len());
        result.copy_from_slice(data);
        if !aes_mode(mode, encrypting, key, iv, result) {
            raise(l, c"AES takes a key of 16, 24 or 32 bytes, 16 bytes to begin with (ECB: none), and CBC, ECB, CFB, OFB or CTR");
        }
        ffi::lua_pushlstring(l, block.cast::<c_char>(), result.len());
        1
    }
}

const FUNCTIONS: [(&CStr, lua_CFunction); 5] =
    [(c"digest", digest), (c"hmac", hmac), (c"blake2b", blake2b), (c"pbkdf2", pbkdf2), (c"aes", aes)];

/// Adds the functions to the loaded modules.
///
/// # Safety
/// As for [`super::host::charge`]; the library's prelude has run.
pub(super) unsafe fn open(l: *mut lua_State) {
    unsafe {
        ffi::lua_getglobal(l, c"package".as_ptr());
        ffi::lua_getfield(l, -1, c"loaded".as_ptr());
        ffi::lua_newtable(l);
        for (name, function) in FUNCTIONS {
            ffi::lua_pushcfunction(l, function);
            ffi::lua_setfield(l, -2, name.as_ptr());
        }
        super::permanent::add_library(l, PREFIX);
        ffi::lua_setfield(l, -2, MODULE.as_ptr());
        ffi::lua_pop(l, 2);
    }
}

#[cfg(test)]
mod tests {
    use ao_protocol::message::{Env, Message};
    use ao_protocol::module::Limits;

    use super::super::interpreter::Interpreter;
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn shown(hash: Option<Hash>) -> String {
        hash.map_or("none".into(), |hash| hex(&hash.bytes[..hash.length]))
    }

    const FOX: &[u8] = b"The quick brown fox jumps over the lazy dog";

    /// Results of OpenSSL and Python's hashlib; of Keccak and MD2 those that their authors give.
    #[test]
    fn digests_are_those_of_others() {
        for (name, data, expected) in [
            ("md2", &b""[..], "8350e5a3e24c153df2275c9f80692773"),
            ("md4", FOX, "1bee69a46ba811185c194762abaeae90"),
            ("md5", FOX, "9e107d9d372bb6826bd81d3542a419d6"),
            ("sha1", FOX, "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"),
            ("sha2_256", FOX, "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592"),
            ("sha3_256", FOX, "69070dda01975c8c120c3aada1b282394e7f032fa9cf32f4cb2259a0897dfc04"),
            ("keccak256", b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
            ("sha0", b"", "none"),
        ] {
            assert_eq!(shown(digest_of(name.as_bytes(), data)), expected, "{name}");
        }
        for (name, start) in
            [("sha2_512", "07e547d9586f6a73"), ("sha3_512", "01dedd5de4ef1464"), ("keccak512", "d135bb84d0439dba")]
        {
            assert_eq!(shown(digest_of(name.as_bytes(), FOX))[..16], *start, "{name}");
        }
        let long = [b'x'; 300];
        assert_eq!(shown(blake2b_of(&long, 20, b"")), "5cdff8b6d7145ae42f4dabf69e299160b8ce7a30");
        let keyed = "490b6c8300eb23464bd2f9ca37c036be5091da14ddbeafab424c4c0a1f9eaac5";
        assert_eq!(shown(blake2b_of(b"", 32, b"k")), keyed);
        let keyed = "b05eee79a2e9b24e1629c37149f65a57167f39338a99413cc7064c57ff6b2932";
        assert_eq!(shown(blake2b_of(&long[..128], 32, b"k")), keyed);
        assert_eq!(shown(blake2b_of(&long, 64, b"secret"))[..16], *"2f30527d98e4ce76");
        let key = [b'k'; 100];
        assert_eq!(shown(hmac_of(b"sha1", &key, FOX)), "6ad5f2e3c41e556456962df51e3e016bdb9a86e5");
        assert_eq!(shown(hmac_of(b"md5", &key, FOX)), "cda99dbe999b34c4980ddf0625f49423");
        assert_eq!(shown(hmac_of(b"sha2_256", &key, FOX))[..16], *"d545ebc800857f4b");
        assert_eq!(shown(hmac_of(b"sha2_512", &key, FOX))[..16], *"e6fcd5c844a2218c");
    }

    /// Results of OpenSSL, all modes and key sizes, hashed together.
    #[test]
    fn aes_is_that_of_others_and_goes_back() {
        let (key, iv): (Vec<u8>, Vec<u8>) = ((0..32).collect(), (100..116).collect());
        let mut all = String::new();
        for mode in ["CBC", "ECB", "CFB", "OFB", "CTR"] {
            for length in [16, 24, 32] {
                let iv = if mode == "ECB" { &[][..] } else { &iv[..] };
                let mut data = [b'x'; 48];
                assert!(aes_mode(mode.as_bytes(), true, &key[..length], iv, &mut data));
                all.push_str(&hex(&data));
                assert!(aes_mode(mode.as_bytes(), false, &key[..length], iv, &mut data));
                assert_eq!(data, [b'x'; 48], "{mode} {length}");
            }
        }
        let expected = "143a49da7cbf2e1d6b80c871530f830b68b92e4e43f9e9ca36d31cc68914d25a";
        assert_eq!(hex(&sha2::Sha256::digest(all.as_bytes())), expected);
        assert!(!aes_mode(b"CBC", true, &key[..15], &iv, &mut []) && !aes_mode(b"CBC", true, &key, &iv[1..], &mut []));
        assert!(!aes_mode(b"XTS", true, &key, &iv, &mut []));
    }

    #[test]
    fn programs_call_it_and_pay_for_it() {
        let run = |code: &str| {
            let source = format!(
                "local host = require('ao.crypto')
                 local function hex(s) return (s:gsub('.', function(c) return ('%02x'):format(c:byte()) end)) end
                 function handle(msg) return {{ Output = {{ (function() {code} end)() }} }} end"
            );
            let limits = Limits { memory_bytes: 16 << 20, instructions: 10_000_000 };
            let outcome = Interpreter::new(&source, Env::default(), limits).unwrap().evaluate(&Message::default());
            (outcome.error.unwrap_or(outcome.output), outcome.gas_used)
        };
        for (code, expected) in [
            ("return hex(host.digest('md5', ''))", "d41d8cd98f00b204e9800998ecf8427e"),
            ("return hex(host.hmac('sha1', 'key', 'text'))", "369e2959eb49450338b212748f77d8ded74847bb"),
            ("return hex(host.blake2b('', 1, ''))", "2e"),
            (
                "return hex(host.pbkdf2('sha1', 'password', 'salt', 4096, 25))",
                "4b007901b765489abead49d926f721d065a429c12e463f6c4c",
            ),
            ("return hex(host.pbkdf2('sha2_256', 'password', 'salt', 3, 4))", "ad352"),
            (
                "return host.aes('CTR', false, ('k'):rep(16), ('i'):rep(16), host.aes('CTR', true, ('k'):rep(16),               ('i'):rep(16), ('x'):rep(16)))",
                "xxxxxxxxxxxxxxxx",
            ),
            ("host.digest('md6', '')", "no digest has this name"),
            ("host.digest('md5')", "string expected, got no value"),
            ("host.pbkdf2('sha1', '', '', 0, 1)", "the number of iterations must be"),
            ("host.pbkdf2('sha1', '', '', 1, 5000)", "1 to 4096 bytes"),
            ("host.pbkdf2('sha1', '', '', 1 << 31, 20)", "compute limit"),
            ("host.blake2b('', 65, '')", "1 to 64 bytes"),
            ("host.aes('CBC', true, 'k', 'i', '')", "AES takes a key"),
            ("host.aes('CBC', true, 'k', 'i', 'x')", "in blocks of 16"),
        ] {
            let (said, _) = run(code);
            assert!(said.contains(expected), "{code}: {said}");
        }
        let (_, little) = run("host.digest('sha1', '')");
        let (_, much) = run("local s = ('x'):rep(1000000) host.digest('sha1', s)");
        assert!(much > little + 3_000_000, "{little} {much}");
    }
}
