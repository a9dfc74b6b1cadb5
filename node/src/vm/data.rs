//! Data of the permaweb that a program reads: what its log named ([`ao_protocol::reference`]), from files that the node
//! hands over. The prelude makes `io.open("/data/<id>")` and `ao.data(id)` of it.
//!
//! What is named is a part of the state. What is open is not: when a program reads something for the first time, the
//! worker asks the node for the file, in the middle of the evaluation. Without it there is no outcome, ever: the
//! evaluation is given up and the node tries again when it has the data.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use ao_protocol::id::{Digest, Id};
use ao_protocol::reference::{Named, Seal, Sha384};
use mlua::ffi::{self, lua_State};

use super::frame::{self, Reply};
use super::host::{Host, Stop, charge, raise};
use super::passing;
use super::snapshot::{Reader, RestoreError, push_number};

/// Most data that a process may read at a time; of more, what was named first is forgotten.
pub const MAX_NAMED: usize = 10_000;
/// Most files that a worker keeps open.
const MAX_OPEN: usize = 16;
/// Instructions charged for a call, and bytes read for one more: about what they take.
const INSTRUCTIONS_PER_CALL: u64 = 400;
const BYTES_PER_INSTRUCTION: u64 = 8;
/// The byte that comes with a file.
pub(super) const HERE: u8 = 1;

/// Kinds of seals in a snapshot.
const ROOT: u8 = 0;
const SHA384: u8 = 1;

/// Where workers get the files of data that programs read.
pub trait DataSource: Send + Sync {
    /// The file of data, if all of it is here. Its bytes were checked, and never change.
    fn open(&self, named: &Named) -> Option<File>;
}

/// What a process may read.
#[derive(Clone, Default)]
pub(super) struct NamedData {
    by_id: BTreeMap<Id, (u64, Named)>,
    /// In the order in which they were named.
    order: BTreeMap<u64, Id>,
}

impl NamedData {
    /// Lets it be read from now on.
    pub(super) fn name(&mut self, named: Named) {
        let next = self.order.last_key_value().map_or(0, |(last, _)| last + 1);
        if let Some((place, _)) = self.by_id.insert(named.id, (next, named)) {
            self.order.remove(&place);
        }
        self.order.insert(next, named.id);
        while self.order.len() > MAX_NAMED
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.by_id.remove(&oldest);
        }
    }

    fn get(&self, id: &Id) -> Option<Named> {
        self.by_id.get(id).map(|(_, named)| *named)
    }

    /// Appends it to a snapshot: number, and each id, size, kind of seal, seal, in the order in which they were named.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        push_number(out, self.order.len() as u64);
        for named in self.order.values().filter_map(|id| self.get(id)) {
            out.extend(named.id.to_bytes());
            push_number(out, named.size);
            match named.seal {
                Seal::Root(root) => {
                    out.push(ROOT);
                    out.extend(root.to_bytes());
                }
                Seal::Sha384(hash) => {
                    out.push(SHA384);
                    out.extend(hash.0);
                }
            }
        }
    }

    /// Reads it from a snapshot.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<NamedData, RestoreError> {
        let mut data = NamedData::default();
        let count = reader.count()?;
        for _ in 0..count {
            let id = Id::from(reader.array()?);
            let size = reader.number()?;
            let seal = match reader.byte()? {
                ROOT => Seal::Root(Digest::from(reader.array()?)),
                SHA384 => Seal::Sha384(Sha384(reader.array()?)),
                _ => return Err(RestoreError("data is sealed in no known way")),
            };
            data.name(Named { id, size, seal });
        }
        match data.order.len() as u64 == count {
            true => Ok(data),
            false => Err(RestoreError("it names data twice, or too much")),
        }
    }
}

/// The files of a worker's process.
#[derive(Default)]
pub(super) struct Files {
    /// The socket to the node; none in a process that has no node to ask.
    node: Option<RawFd>,
    /// What was used last is the last one.
    open: Vec<(Named, File)>,
    /// What was not at hand, so that the evaluation was given up.
    missing: Option<Named>,
    /// Whether a file was opened since the evaluation began.
    opened: bool,
}

impl Files {
    /// Asks for files over this socket, whose other end the node reads.
    pub(super) fn ask_by(&mut self, node: RawFd) {
        self.node = Some(node);
    }

    /// Starts an evaluation.
    pub(super) fn begin(&mut self) {
        (self.missing, self.opened) = (None, false);
    }

    /// What the last evaluation lacked: it has no outcome.
    pub(super) fn missing(&self) -> Option<Named> {
        self.missing
    }

    /// Whether a file was opened in the last evaluation: a copy of the process from before does not have it.
    pub(super) fn opened(&self) -> bool {
        self.opened
    }

    /// The open file; none if the node does not have it.
    fn file(&mut self, named: &Named) -> io::Result<Option<&File>> {
        let same = |open: &(Named, File)| (open.0.size, open.0.seal) == (named.size, named.seal);
        let found = match self.open.iter().position(same) {
            Some(place) => Some(self.open.remove(place)),
            None => self.node.map(|node| ask(node, named)).transpose()?.flatten().map(|file| {
                self.opened = true;
                (*named, file)
            }),
        };
        let Some(found) = found else {
            self.missing = Some(*named);
            return Ok(None);
        };
        if self.open.len() >= MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push(found);
        Ok(self.open.last().map(|(_, file)| file))
    }
}

/// Asks the node for a file.
fn ask(node: RawFd, named: &Named) -> io::Result<Option<File>> {
    // It belongs to who answers the node's requests.
    let mut node = ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(node) });
    frame::write(&mut *node, &Reply::Wants(*named))?;
    match passing::receive(&*node)? {
        Some((HERE, files)) => Ok(files.into_iter().next().map(File::from)),
        Some(_) => Ok(None),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The data that the text at an index names. Nothing to be dropped is held.
unsafe fn named(l: *mut lua_State, index: c_int) -> Option<Named> {
    unsafe {
        let mut length = 0;
        let text = ffi::luaL_checklstring(l, index, &mut length);
        let text = std::str::from_utf8(std::slice::from_raw_parts(text.cast::<u8>(), length)).ok()?;
        Host::of(l).named.get(&text.parse().ok()?)
    }
}

/// `size(id)`: bytes of data that may be read; nil if it may not.
pub(super) unsafe extern "C-unwind" fn size(l: *mut lua_State) -> c_int {
    unsafe {
        charge(l, INSTRUCTIONS_PER_CALL);
        match named(l, 1) {
            Some(named) => ffi::lua_pushinteger(l, i64::try_from(named.size).unwrap_or(i64::MAX)),
            None => ffi::lua_pushnil(l),
        }
        1
    }
}

/// `read(id, offset, count)`: at most so many bytes from there; less at the end.
pub(super) unsafe extern "C-unwind" fn read(l: *mut lua_State) -> c_int {
    unsafe {
        charge(l, INSTRUCTIONS_PER_CALL);
        let Some(named) = named(l, 1) else {
            raise(l, c"neither the spawn of this process nor an assignment to it names this data")
        };
        let (offset, count) = (ffi::luaL_checkinteger(l, 2), ffi::luaL_checkinteger(l, 3));
        let (Ok(offset), Ok(count)) = (u64::try_from(offset), u64::try_from(count)) else {
            raise(l, c"offset and count must not be negative")
        };
        let count = named.size.saturating_sub(offset).min(count);
        if count == 0 {
            ffi::lua_pushstring(l, c"".as_ptr());
            return 1;
        }
        charge(l, count / BYTES_PER_INSTRUCTION);
        // The interpreter refuses what exceeds its memory.
        let block = ffi::lua_newuserdata(l, count as usize).cast::<u8>();
        if !fill(l, &named, offset, std::slice::from_raw_parts_mut(block, count as usize)) {
            Host::of(l).stop.get_or_insert(Stop::Missing);
            raise(l, c"the data is not here");
        }
        ffi::lua_pushlstring(l, block.cast(), count as usize);
        1
    }
}

/// Reads into a block; false if the data is not at hand. Ends the process when what is at hand can't be read.
unsafe fn fill(l: *mut lua_State, named: &Named, offset: u64, block: &mut [u8]) -> bool {
    let files = unsafe { &mut Host::of(l).files };
    let filled = match files.file(named) {
        Ok(None) => return false,
        Ok(Some(file)) => file.read_exact_at(block, offset),
        Err(cause) => Err(cause),
    };
    if let Err(cause) = filled {
        // No outcome may come of it.
        eprintln!("worker: the data of {} can't be read: {cause}", named.id);
        std::process::abort();
    }
    true
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ao_protocol::message::{Env, Message};
    use ao_protocol::module::Limits;

    use super::super::interpreter::Interpreter;
    use super::super::snapshot::Waiting;
    use super::*;

    const LIMITS: Limits = Limits { memory_bytes: 16 << 20, instructions: 20_000_000 };
    const MODULE: &str = "function handle(msg) return { Output = assert(load(msg.Data))() } end";

    fn sample(n: u8, size: u64) -> Named {
        Named { id: Id::from([n; 32]), size, seal: Seal::Root(Digest::from([n; 32])) }
    }

    /// An interpreter that has this data at hand, and a message that names it.
    fn with(data: &[u8]) -> (Interpreter, Message) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(data).unwrap();
        let named = sample(1, data.len() as u64);
        let mut interpreter = Interpreter::new(MODULE, Env::default(), LIMITS).unwrap();
        interpreter.files().open.push((named, file));
        (interpreter, Message { named: vec![named], ..Message::default() })
    }

    fn run(interpreter: &mut Interpreter, message: &Message, code: &str) -> String {
        let code = format!("local id = '{}' {code}", Id::from([1; 32]));
        let outcome = interpreter.evaluate(&Message { data: Some(code.into()), ..message.clone() });
        outcome.error.map_or(outcome.output, |error| format!("error: {error}"))
    }

    #[test]
    fn ranges_lines_and_all_of_it_are_read() {
        let (mut interpreter, message) = with(b"first\nsecond\n\nlast");
        for (code, expected) in [
            (
                "local d = require('ao.data')(id) return d.size .. d:read(6, 6) .. d:read(14) .. d:read(99, 5)",
                "\"18secondlast\"",
            ),
            ("return io.open('/data/' .. id):read('a')", "\"first\\nsecond\\n\\nlast\""),
            (
                "local f = io.open('/data/' .. id) return { f:read('l', 'L', '*l', 2, 9) }",
                "[\"first\",\"second\\n\",\"\",\"la\",\"st\"]",
            ),
            (
                "local f = io.open('/data/' .. id) f:read('a') return { f:read('a'), tostring(f:read('l')), tostring(f:read(0)) }",
                "[\"\",\"nil\",\"nil\"]",
            ),
            (
                "local t = {} for line in io.lines('/data/' .. id) do t[#t + 1] = line end return t",
                "[\"first\",\"second\",\"\",\"last\"]",
            ),
            (
                "local f = io.open('/data/' .. id, 'rb') return { f:seek('end'), f:seek('set', 6), f:seek('cur', -1), f:read(1) }",
                "[18,6,5,\"\\n\"]",
            ),
            (
                "local f = io.open('/data/' .. id) f:close() return { io.type(f), io.type(io.open('/data/' .. id)), tostring(io.type({})) }",
                "[\"closed file\",\"file\",\"nil\"]",
            ),
            (
                "return { select(2, io.open('/data/x')), select(2, io.open('/etc/passwd')), select(2, io.open('/data/' .. id, 'w')) }",
                "[\"/data/x: No such file or directory\",\"/etc/passwd: No such file or directory\",\"/data/",
            ),
        ] {
            let said = run(&mut interpreter, &message, code);
            assert!(said.starts_with(expected), "{code}: {said}");
        }
        for code in [
            "require('ao.data')(id):read(-1, 1)",
            "require('ao.data')(id):read(0, -1)",
            "io.open('/data/' .. id):read('x')",
            "local f = io.open('/data/' .. id) f:close() f:read()",
            "assert(io.open('/data/' .. id):seek('set', -1))",
        ] {
            assert!(run(&mut interpreter, &message, code).starts_with("error: "), "{code}");
        }
        // What was named stays so, and nothing else is there.
        let quiet = Message::default();
        assert_eq!(run(&mut interpreter, &quiet, "return require('ao.data')(id):read(0, 2)"), "\"fi\"");
        let other = format!("return tostring(require('ao.data')('{}'))", Id::from([2; 32]));
        assert_eq!(run(&mut interpreter, &quiet, &other), "\"nil\"");
        let fresh = with(b"x").0.evaluate(&Message { data: Some(other.into()), ..quiet });
        assert_eq!(fresh.output, "\"nil\"");
    }

    #[test]
    fn bytes_are_charged_and_fit_the_memory() {
        let (mut interpreter, message) = with(&vec![7; 24 << 20]);
        let charged = |interpreter: &mut Interpreter, count: u64| {
            let code = format!("require('ao.data')('{}'):read(0, {count})", Id::from([1; 32]));
            interpreter.evaluate(&Message { data: Some(code.into()), ..message.clone() }).gas_used
        };
        let (little, much) = (charged(&mut interpreter, 1000), charged(&mut interpreter, 1_000_000));
        assert!(much - little >= 999_000 / BYTES_PER_INSTRUCTION, "{little} {much}");
        let all = run(&mut interpreter, &message, "return #io.open('/data/' .. id):read('a')");
        assert!(all.contains("memory limit"), "{all}");
        let parts = "local d, sum = require('ao.data')(id), 0
            for at = 0, d.size - 1, 1 << 20 do sum = sum + #d:read(at, 1 << 20) end return sum";
        assert_eq!(run(&mut interpreter, &message, parts), (24 << 20).to_string());
    }

    #[test]
    fn what_is_not_at_hand_can_not_be_caught_and_gives_no_outcome() {
        let mut interpreter = Interpreter::new(MODULE, Env::default(), LIMITS).unwrap();
        let named = sample(1, 5);
        let message = Message { named: vec![named], ..Message::default() };
        for caught in [
            "pcall(function() return require('ao.data')(id):read(0, 1) end) caught = true",
            "coroutine.wrap(function() pcall(require('ao.data')(id).read, require('ao.data')(id), 0, 1) end)() caught = true",
            "xpcall(function() io.open('/data/' .. id):read() end, function() end) caught = true",
        ] {
            run(&mut interpreter, &message, caught);
            assert_eq!(interpreter.missing(), Some(named));
            assert_eq!(run(&mut interpreter, &Message::default(), "return tostring(caught)"), "\"nil\"", "{caught}");
        }
        run(&mut interpreter, &message, "return io.open('/data/' .. id):seek('end')");
        assert_eq!(interpreter.missing(), None);
    }

    #[test]
    fn what_is_named_is_a_part_of_the_state() {
        let (mut interpreter, message) = with(b"first\nsecond");
        run(&mut interpreter, &message, "file = io.open('/data/' .. id) file:read()");
        let form = interpreter.save(Waiting::Refused).unwrap();
        let bytes = [form.head, form.records].concat();
        let (mut copy, _) = with(b"first\nsecond");
        copy.restore(MODULE, &bytes).unwrap();
        assert_eq!(run(&mut copy, &Message::default(), "return file:read()"), "\"second\"");
        let form = copy.save(Waiting::Refused).unwrap();
        assert_ne!([form.head, form.records].concat(), bytes, "it was read on");
        // Begun again it has nothing.
        copy.begin_again(MODULE, super::super::snapshot::FIRST_SEED);
        assert_eq!(run(&mut copy, &Message::default(), "return tostring(require('ao.data')(id))"), "\"nil\"");
    }

    #[test]
    fn the_newest_names_count_and_are_read_as_they_were_written() {
        let mut data = NamedData::default();
        let numbered =
            |n: usize| Named { id: Id::from(*blake3::hash(&n.to_le_bytes()).as_bytes()), ..sample(1, n as u64) };
        (0..=MAX_NAMED).for_each(|n| data.name(numbered(n)));
        assert_eq!((data.get(&numbered(0).id), data.get(&numbered(1).id)), (None, Some(numbered(1))));
        let hashed = Named { seal: Seal::Sha384(Sha384([3; 48])), ..numbered(1) };
        data.name(hashed);
        let mut bytes = Vec::new();
        data.write(&mut bytes);
        let read = NamedData::read(&mut Reader { bytes: &bytes, at: 0 }).unwrap();
        assert_eq!((read.order.len(), read.get(&hashed.id)), (MAX_NAMED, Some(hashed)));
        let mut again = Vec::new();
        read.write(&mut again);
        // The order is kept, without gaps.
        assert!(again == bytes);
        for end in 0..100 {
            assert!(NamedData::read(&mut Reader { bytes: &bytes[..end], at: 0 }).is_err());
        }
    }
}
