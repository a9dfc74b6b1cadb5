//! Reads the parts that snapshots are made of, from bytes that may be anything.

use super::restore::RestoreError;
use super::{LONG_TEXT, value};

/// A value as it is written.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Nil,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(&'a [u8]),
    NewLongText(&'a [u8]),
    LongText(u64),
    Object(u64),
}

/// Bytes, and how far they were read.
pub(in super::super) struct Reader<'a> {
    pub(in super::super) bytes: &'a [u8],
    pub(in super::super) at: usize,
}

impl<'a> Reader<'a> {
    /// The next bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], RestoreError> {
        let end = self.at.checked_add(count).ok_or(RestoreError("it ends too early"))?;
        let taken = self.bytes.get(self.at..end).ok_or(RestoreError("it ends too early"))?;
        self.at = end;
        Ok(taken)
    }

    /// The next bytes, as many as are wanted.
    pub(in super::super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        self.take(N)?.try_into().map_err(|_| RestoreError("it ends too early"))
    }

    /// The next byte.
    pub(in super::super) fn byte(&mut self) -> Result<u8, RestoreError> {
        Ok(self.take(1)?[0])
    }

    /// A seed.
    pub(super) fn seed(&mut self) -> Result<u32, RestoreError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next number.
    pub(in super::super) fn number(&mut self) -> Result<u64, RestoreError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(RestoreError("a number is not in its shortest form"))
    }

    /// A number of things that take at least a byte each.
    pub(in super::super) fn count(&mut self) -> Result<u64, RestoreError> {
        let count = self.number()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.bytes.len() - self.at => Ok(count as u64),
            _ => Err(RestoreError("it ends too early")),
        }
    }

    /// The next text.
    pub(super) fn text(&mut self) -> Result<&'a [u8], RestoreError> {
        let length = self.count()? as usize;
        self.take(length)
    }

    /// The next value.
    pub(super) fn value(&mut self) -> Result<Value<'a>, RestoreError> {
        Ok(match self.byte()? {
            value::NIL => Value::Nil,
            value::FALSE => Value::Boolean(false),
            value::TRUE => Value::Boolean(true),
            value::INTEGER => {
                let coded = self.number()?;
                Value::Integer((coded >> 1) as i64 ^ -((coded & 1) as i64))
            }
            value::FLOAT => {
                let bytes = self.take(8)?.try_into().map_err(|_| RestoreError("it ends too early"))?;
                Value::Float(f64::from_le_bytes(bytes))
            }
            value::TEXT => {
                let text = self.text()?;
                if text.len() > LONG_TEXT {
                    return Err(RestoreError("a long text is written as a short one"));
                }
                Value::Text(text)
            }
            value::NEW_LONG_TEXT => Value::NewLongText(self.text()?),
            value::LONG_TEXT => Value::LongText(self.number()?),
            value::OBJECT => Value::Object(self.number()?),
            _ => return Err(RestoreError("a value is of no known kind")),
        })
    }
}
