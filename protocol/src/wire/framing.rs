//! The one place of this crate that knows bincode: a version byte, then bincode's standard encoding (little-endian,
//! variable-length integers), decoded with a limit on what a hostile length prefix can make us allocate.

use bincode::config::{Configuration, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// First byte of every frame and record.
pub const VERSION: u8 = 5;

/// What a single decode may allocate, in bytes.
const DECODE_LIMIT: usize = 16 * 1024 * 1024;

const CONFIG: Configuration<LittleEndian, Varint, bincode::config::Limit<DECODE_LIMIT>> =
    bincode::config::standard().with_limit::<DECODE_LIMIT>();

/// Why bytes are not a frame.
#[derive(Debug, Error)]
pub enum FrameError {
    /// No byte at all.
    #[error("empty frame")]
    Empty,
    /// Another version of this format.
    #[error("frame of version {found}; this node speaks version {VERSION}: one of the two needs an update")]
    Version {
        /// The version byte found.
        found: u8,
    },
    /// The bytes do not hold the expected value, or it is too large.
    #[error("malformed frame: {0}")]
    Malformed(String),
    /// Bytes are left after the value.
    #[error("{0} bytes are left over after the frame")]
    LeftOver(usize),
}

/// Frames a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    append(vec![VERSION], value)
}

/// A value without a frame, for what is hashed or is to be read for ever: the same in every version.
pub fn encode_bare<T: Serialize>(value: &T) -> Vec<u8> {
    append(Vec::new(), value)
}

fn append<T: Serialize>(mut bytes: Vec<u8>, value: &T) -> Vec<u8> {
    match bincode::serde::encode_into_std_write(value, &mut bytes, CONFIG) {
        Ok(_) => bytes,
        // Encoding into memory fails only for types that serde can't describe; ours are plain data.
        Err(cause) => unreachable!("plain data encodes: {cause}"),
    }
}

/// Reads a frame back; all bytes must be used.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let (version, rest) = bytes.split_first().ok_or(FrameError::Empty)?;
    if *version != VERSION {
        return Err(FrameError::Version { found: *version });
    }
    decode_bare(rest)
}

/// Reads back what has no frame; all bytes must be used.
pub fn decode_bare<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let (value, used) =
        bincode::serde::decode_from_slice(bytes, CONFIG).map_err(|cause| FrameError::Malformed(cause.to_string()))?;
    if used != bytes.len() {
        return Err(FrameError::LeftOver(bytes.len() - used));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_strangers_are_refused() {
        let bytes = encode(&(7u64, "text".to_string()));
        assert_eq!(decode::<(u64, String)>(&bytes).unwrap(), (7, "text".into()));
        assert!(matches!(decode::<u64>(&[]), Err(FrameError::Empty)));
        assert!(matches!(decode::<u64>(&[9, 1]), Err(FrameError::Version { found: 9 })));
        assert!(matches!(decode::<u8>(&[VERSION, 1, 1]), Err(FrameError::LeftOver(1))));
    }

    #[test]
    fn a_hostile_length_does_not_allocate() {
        let mut bytes = vec![VERSION, 253];
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(decode::<Vec<u8>>(&bytes), Err(FrameError::Malformed(_))));
    }
}
