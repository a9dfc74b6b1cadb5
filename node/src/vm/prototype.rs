//! Prototypes: the code of each function of a chunk, found in the chunk as the interpreter itself compiled and dumped
//! it. Lua's interface gives no other way from a function to its place in the source and back. Nothing that came from
//! outside is ever read here: what is kept and sent is source text.
//!
//! The format is that of Lua 5.3's `ldump.c`: a header, then functions within functions.

use std::ops::Range;

/// What every dump of Lua 5.3 with our number types begins with; then the number of upvalues of the main function.
const HEADER: &[u8] =
    b"\x1bLua\x53\x00\x19\x93\r\n\x1a\n\x04\x08\x04\x08\x08\x78\x56\0\0\0\0\0\0\0\0\0\0\0\x28\x77\x40";
/// Tags of constants.
const BOOLEAN: u8 = 1;
const FLOAT: u8 = 3;
const INTEGER: u8 = 3 | 16;
const SHORT_TEXT: u8 = 4;
const LONG_TEXT: u8 = 4 | 16;
/// A factory's function holds each upvalue in a register, and the result in one more.
pub(super) const MAX_FACTORY_UPVALUES: usize = 250;

/// A chunk as it was dumped, and the functions in it.
#[derive(Clone)]
pub(super) struct Dump {
    bytes: Vec<u8>,
    prototypes: Vec<Prototype>,
}

/// One function.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Prototype {
    lines: (u32, u32),
    upvalues: usize,
    /// From its lines up to its upvalues.
    head: Range<usize>,
    /// From behind its upvalues to its end.
    tail: Range<usize>,
}

/// The dump is none that this interpreter makes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoDump;

impl Dump {
    /// Finds the functions of a dump, the main function first, each before those in it.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Dump, NoDump> {
        let mut reader = Reader { bytes: &bytes, at: 0 };
        if reader.take(HEADER.len())? != HEADER {
            return Err(NoDump);
        }
        reader.byte()?;
        let mut prototypes = Vec::new();
        reader.function(&mut prototypes)?;
        if reader.at != bytes.len() {
            return Err(NoDump);
        }
        Ok(Dump { bytes, prototypes })
    }

    /// The lines between which each function is defined, by its number.
    pub(super) fn lines(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.prototypes.iter().map(|prototype| prototype.lines)
    }

    /// How many upvalues a function has; none if there is no function of this number.
    pub(super) fn upvalues(&self, number: usize) -> Option<usize> {
        self.prototypes.get(number).map(|prototype| prototype.upvalues)
    }

    /// Says what a function does: all but where its upvalues come from. Equal ones are equal functions.
    pub(super) fn fingerprint(&self, number: usize) -> Option<blake3::Hash> {
        let prototype = self.prototypes.get(number)?;
        let (head, tail) = (self.bytes.get(prototype.head.clone())?, self.bytes.get(prototype.tail.clone())?);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(prototype.upvalues as u64).to_le_bytes());
        hasher.update(&(head.len() as u64).to_le_bytes());
        hasher.update(head).update(tail);
        Some(hasher.finalize())
    }

    /// A dumped chunk that gives a new closure of a function whenever it is called, with upvalues of its own; none if
    /// it has too many of them.
    pub(super) fn factory(&self, number: usize, chunk_name: &[u8]) -> Option<Vec<u8>> {
        let prototype = self.prototypes.get(number).filter(|found| found.upvalues <= MAX_FACTORY_UPVALUES)?;
        let count = prototype.upvalues as u32;
        let mut out = HEADER.to_vec();
        out.push(0);
        push_text(&mut out, chunk_name);
        for line in [0u32, 0] {
            out.extend(line.to_le_bytes());
        }
        // No parameters, not variadic, a register for each upvalue and one for the closure.
        out.extend([0, 0, count as u8 + 2]);
        let instruction = |op: u32, a: u32, b: u32| op | a << 6 | b << 23;
        const LOADNIL: u32 = 4;
        const RETURN: u32 = 38;
        const CLOSURE: u32 = 44;
        let mut code = Vec::new();
        if count > 0 {
            code.push(instruction(LOADNIL, 0, count - 1));
        }
        code.extend([instruction(CLOSURE, count, 0), instruction(RETURN, count, 2), instruction(RETURN, 0, 1)]);
        out.extend((code.len() as u32).to_le_bytes());
        for instruction in &code {
            out.extend(instruction.to_le_bytes());
        }
        // No constants, no upvalues, one function: its source is this chunk's, its upvalues are this function's locals.
        for number in [0u32, 0, 1] {
            out.extend(number.to_le_bytes());
        }
        out.push(0);
        out.extend(self.bytes.get(prototype.head.clone())?);
        out.extend(count.to_le_bytes());
        for register in 0..count {
            out.extend([1, register as u8]);
        }
        out.extend(self.bytes.get(prototype.tail.clone())?);
        // No line information, locals or names of upvalues.
        for number in [0u32, 0, 0] {
            out.extend(number.to_le_bytes());
        }
        Some(out)
    }
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    let size = text.len() as u64 + 1;
    match u8::try_from(size) {
        Ok(short) if short < 0xff => out.push(short),
        _ => {
            out.push(0xff);
            out.extend(size.to_le_bytes());
        }
    }
    out.extend(text);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], NoDump> {
        let end = self.at.checked_add(count).ok_or(NoDump)?;
        let taken = self.bytes.get(self.at..end).ok_or(NoDump)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NoDump> {
        self.take(N)?.try_into().map_err(|_| NoDump)
    }

    fn byte(&mut self) -> Result<u8, NoDump> {
        Ok(self.array::<1>()?[0])
    }

    fn number(&mut self) -> Result<u32, NoDump> {
        self.array().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Result<(), NoDump> {
        let size = match self.byte()? {
            0 => return Ok(()),
            0xff => u64::from_le_bytes(self.array()?),
            short => u64::from(short),
        };
        let length = usize::try_from(size).ok().and_then(|size| size.checked_sub(1)).ok_or(NoDump)?;
        self.take(length).map(drop)
    }

    /// One function and those in it.
    fn function(&mut self, found: &mut Vec<Prototype>) -> Result<(), NoDump> {
        self.text()?;
        let start = self.at;
        let lines = (self.number()?, self.number()?);
        self.take(3)?;
        let instructions = self.number()? as usize;
        self.take(instructions.checked_mul(4).ok_or(NoDump)?)?;
        for _ in 0..self.number()? {
            match self.byte()? {
                0 => {}
                BOOLEAN => drop(self.byte()?),
                FLOAT | INTEGER => drop(self.take(8)?),
                SHORT_TEXT | LONG_TEXT => self.text()?,
                _ => return Err(NoDump),
            }
        }
        let head = start..self.at;
        let upvalues = self.number()? as usize;
        self.take(upvalues.checked_mul(2).ok_or(NoDump)?)?;
        let place = found.len();
        let tail = self.at..self.at;
        found.push(Prototype { lines, upvalues, head, tail });
        for _ in 0..self.number()? {
            self.function(found)?;
        }
        let line_numbers = self.number()? as usize;
        self.take(line_numbers.checked_mul(4).ok_or(NoDump)?)?;
        for _ in 0..self.number()? {
            self.text()?;
            self.take(8)?;
        }
        for _ in 0..self.number()? {
            self.text()?;
        }
        found[place].tail.end = self.at;
        Ok(())
    }
}
