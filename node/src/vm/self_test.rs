//! Whether this build computes what every other one does: the order of native iteration (which shows the string hash
//! and its seed), the power operator and functions of `math`, what is charged (which shows how much memory things
//! take), and how tables are laid out, against known values.

use std::fmt::Write;

use ao_protocol::message::{Env, Message};
use ao_protocol::module::Limits;
use mlua::ffi;

use super::VmError;
use super::interpreter::Interpreter;
use super::places::places;

const LIMITS: Limits = Limits { memory_bytes: 16 << 20, instructions: 10_000_000 };

/// A table with text keys of all lengths around those where the hash behaves differently, and a sum of bit patterns.
const SOURCE: &str = r#"
probe = {}
for length = 1, 48 do probe[("abcdefgh"):rep(6):sub(1, length)] = length end
function handle()
  local bits = {}
  local function add(x) bits[#bits + 1] = ("%016x"):format((("<i8"):unpack(("<d"):pack(x)))) end
  for place = 1, 40 do
    local x = (place * 0.7310585786300049) % 7 + 0.01
    add(x ^ 0.37) add(x ^ 12.5) add((-x) ^ 3) add(math.exp(x)) add(math.log(x)) add(math.log(x, 2))
    add(math.log(x, 10)) add(math.sin(x)) add(math.cos(x)) add(math.tan(x)) add(math.atan(x, 2))
    add(math.asin(x / 8)) add(math.acos(x / 8)) add(math.sqrt(x)) add(math.fmod(x, 0.3))
  end
  local zero = 0.0
  add(zero / zero) add(-(zero / zero)) add(1 / zero - 1 / zero) add(math.sqrt(-1)) add(1.5 % zero) add((-1) ^ 0.5)
  return { Output = table.concat(bits) }
end
"#;

/// blake3 of the values of `probe` in native order, a line each.
const KNOWN_ORDER: &str = "fa707ea54693d4b403324805d65e058df575f1c9dbba51d62a03ea77d277a309";
/// blake3 of the output of `handle`.
const KNOWN_BITS: &str = "3332d1bcc9f109a5b5148bea3d804c56fa54b441be811b3df2ca7b627ffb1360";

/// What `handle` is charged.
const KNOWN_CHARGE: &str = "181356";
/// How many places tables have that are made for some list and hash sizes.
const KNOWN_PLACES: &str = "1 101 64 1124";

/// Compares this build and machine with known values. Where it fails, nothing may be attested: the values would
/// differ from those of others.
pub fn self_test() -> Result<(), VmError> {
    let mut interpreter = Interpreter::new(SOURCE, Env::default(), LIMITS).map_err(VmError::Start)?;
    let outcome = interpreter.evaluate(&Message::default());
    if let Some(error) = outcome.error {
        return Err(VmError::SelfTest(error));
    }
    compare("the power operator or a function of math", &hash(&outcome.output), KNOWN_BITS)?;
    compare("what is charged", &outcome.gas_used.to_string(), KNOWN_CHARGE)?;
    compare("the string hash or its seed", &hash(&native_order(&interpreter)), KNOWN_ORDER)?;
    compare("the layout of tables", &table_places(&interpreter), KNOWN_PLACES)
}

fn compare(what: &str, found: &str, known: &str) -> Result<(), VmError> {
    if found == known {
        return Ok(());
    }
    Err(VmError::SelfTest(format!("{what} gives {found} instead of {known}")))
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn native_order(interpreter: &Interpreter) -> String {
    let l = interpreter.raw();
    let mut order = String::new();
    unsafe {
        // Its name is a string that the interpreter has: nothing is allocated, so no error can be raised.
        ffi::lua_getglobal(l, c"probe".as_ptr());
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, -2) != 0 {
            let _ = writeln!(order, "{}", ffi::lua_tointegerx(l, -1, std::ptr::null_mut()));
            ffi::lua_pop(l, 1);
        }
        ffi::lua_settop(l, 0);
    }
    order
}

fn table_places(interpreter: &Interpreter) -> String {
    let l = interpreter.raw();
    let sizes = [(0, 0), (100, 0), (0, 33), (100, 1000)];
    let found = sizes.map(|(list, hash)| unsafe {
        // Far below the limits: no error can be raised.
        ffi::lua_createtable(l, list, hash);
        let found = places(l, -1);
        ffi::lua_settop(l, 0);
        found.to_string()
    });
    found.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_build_computes_what_others_do() {
        self_test().unwrap();
    }
}
