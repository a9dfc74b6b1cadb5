//! Where functions come from: the chunks that an interpreter compiled, and the place of each function in them.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int};

use mlua::ffi::{self, lua_State};

use super::super::chunks;
use super::super::host::Host;
use super::super::prototype::Dump;
use super::save::SaveError;

/// Where a function's code is: chunk and prototype.
pub(super) type Place = (usize, usize);

/// All chunks as the interpreter dumps them: the library's prelude, the module, and what `load` compiled.
pub(super) struct Sources {
    dumps: Vec<Dump>,
    /// Functions by the name of their chunk and their lines.
    places: HashMap<(Vec<u8>, u32, u32), Candidates>,
}

/// Functions that have the name of their chunk and their lines in common: lines of a console are all of one name.
#[derive(Default)]
struct Candidates {
    all: Vec<Place>,
    /// By what they do, the first of equal ones; made when it is asked for.
    by_code: OnceCell<HashMap<blake3::Hash, Place>>,
}

impl Sources {
    /// Compiles again what `load` compiled: names and texts.
    ///
    /// # Safety
    /// `l` is an interpreter of ours without limits, with a few free places on its stack.
    pub(super) unsafe fn new(l: *mut lua_State, loaded: &[(Vec<u8>, Vec<u8>)]) -> Sources {
        unsafe {
            let mut dumps = std::mem::take(&mut Host::of(l).dumps);
            let mut places: HashMap<(Vec<u8>, u32, u32), Candidates> = HashMap::new();
            let mut names: Vec<Vec<u8>> = vec![b"=prelude".to_vec(), b"=module".to_vec()];
            dumps.truncate(names.len());
            for (name, text) in loaded {
                let c_name = CString::new(name.clone()).unwrap_or_default();
                let dump = match chunks::compile(l, &c_name, text) {
                    true => chunks::dump(l),
                    false => Vec::new(),
                };
                ffi::lua_pop(l, 1);
                // What does not compile any more has no functions.
                let Ok(dump) = Dump::read(dump) else { continue };
                dumps.push(dump);
                names.push(name.clone());
            }
            for (chunk, (dump, name)) in dumps.iter().zip(names).enumerate() {
                for (prototype, lines) in dump.lines().enumerate() {
                    places.entry((name.clone(), lines.0, lines.1)).or_default().all.push((chunk, prototype));
                }
            }
            Sources { dumps, places }
        }
    }

    /// Where the code of the Lua function at an index is.
    ///
    /// # Safety
    /// As for [`Sources::new`]; a Lua function is at the index.
    pub(super) unsafe fn place(&self, l: *mut lua_State, index: c_int) -> Result<Place, SaveError> {
        unsafe {
            let mut about: ffi::lua_Debug = std::mem::zeroed();
            ffi::lua_pushvalue(l, index);
            ffi::lua_getinfo(l, c">S".as_ptr(), &mut about);
            let name = CStr::from_ptr(about.source).to_bytes().to_vec();
            let line = |line: c_int| u32::try_from(line).unwrap_or_default();
            let key = (name, line(about.linedefined), line(about.lastlinedefined));
            let lost = SaveError::Foreign("a function without source");
            let candidates = self.places.get(&key).ok_or(lost)?;
            if let [only] = candidates.all.as_slice() {
                return Ok(*only);
            }
            ffi::lua_pushvalue(l, index);
            let dump = Dump::read(chunks::dump(l));
            ffi::lua_pop(l, 1);
            let code = dump.ok().and_then(|dump| dump.fingerprint(0)).ok_or(lost)?;
            let by_code = candidates.by_code.get_or_init(|| {
                let mut by_code = HashMap::new();
                for place in &candidates.all {
                    if let Some(code) = self.dumps[place.0].fingerprint(place.1) {
                        by_code.entry(code).or_insert(*place);
                    }
                }
                by_code
            });
            by_code.get(&code).copied().ok_or(lost)
        }
    }
}
