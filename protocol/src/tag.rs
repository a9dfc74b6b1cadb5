//! Tags of an item, and their encoding as an Avro array of `{name, value}` records (ANS-104).

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most bytes of an item's encoded tags; what other ao tools accept.
pub const MAX_TAG_BYTES: usize = 4096;
/// Most tags of an item; the smallest tag takes two bytes.
pub const MAX_TAGS: usize = MAX_TAG_BYTES / 2;

/// A name and a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tag {
    /// The name; compared with its case.
    pub name: String,
    /// The value.
    pub value: String,
}

/// Why tags can't be encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TagError {
    /// Too many bytes.
    #[error("{0} bytes of tags; at most {MAX_TAG_BYTES} are allowed")]
    Oversize(usize),
    /// The header declares another number of tags than there are.
    #[error("the item declares {declared} tags and holds {found}")]
    Count {
        /// What the header says.
        declared: u64,
        /// What the array holds.
        found: usize,
    },
    /// Not the encoding of an array of tags.
    #[error("malformed tags: {0}")]
    Malformed(&'static str),
}

impl Tag {
    /// A tag.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Tag {
        Tag { name: name.into(), value: value.into() }
    }
}

/// The value of the first tag with this name.
pub fn find<'a>(tags: &'a [Tag], name: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.name == name).map(|tag| tag.value.as_str())
}

/// Encodes tags as one block; no tags are no bytes.
pub fn encode(tags: &[Tag]) -> Result<Vec<u8>, TagError> {
    if tags.is_empty() {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::new();
    write_long(&mut bytes, tags.len() as i64);
    for tag in tags {
        for text in [&tag.name, &tag.value] {
            write_long(&mut bytes, text.len() as i64);
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes.push(0);
    if bytes.len() > MAX_TAG_BYTES { Err(TagError::Oversize(bytes.len())) } else { Ok(bytes) }
}

/// Decodes tags; `declared` is the count in the item's header. All bytes must be used.
pub fn decode(bytes: &[u8], declared: u64) -> Result<Vec<Tag>, TagError> {
    if bytes.len() > MAX_TAG_BYTES {
        return Err(TagError::Oversize(bytes.len()));
    }
    let mut tags = Vec::new();
    if !bytes.is_empty() {
        let mut reader = Reader { rest: bytes };
        loop {
            let mut count = reader.long()?;
            if count == 0 {
                break;
            }
            if count < 0 {
                // A negative count is followed by the block's size in bytes, which a reader may use to skip it.
                count = count.checked_neg().ok_or(TagError::Malformed("block count"))?;
                let size = reader.long()?;
                if usize::try_from(size).is_ok_and(|size| size <= reader.rest.len()) {
                    reader.block(count, Some(size as usize), &mut tags)?;
                    continue;
                }
                return Err(TagError::Malformed("block size"));
            }
            reader.block(count, None, &mut tags)?;
        }
        if !reader.rest.is_empty() {
            return Err(TagError::Malformed("bytes are left over"));
        }
    }
    if declared != tags.len() as u64 {
        return Err(TagError::Count { declared, found: tags.len() });
    }
    Ok(tags)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn block(&mut self, count: i64, size: Option<usize>, tags: &mut Vec<Tag>) -> Result<(), TagError> {
        let before = self.rest.len();
        for _ in 0..count {
            if tags.len() >= MAX_TAGS {
                return Err(TagError::Malformed("too many tags"));
            }
            tags.push(Tag { name: self.text()?, value: self.text()? });
        }
        match size {
            Some(size) if before - self.rest.len() != size => Err(TagError::Malformed("block size")),
            _ => Ok(()),
        }
    }

    /// A zig-zag variable-length integer.
    fn long(&mut self) -> Result<i64, TagError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(TagError::Malformed("cut off"))?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(TagError::Malformed("integer too large"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(TagError::Malformed("integer too long"))
    }

    fn text(&mut self) -> Result<String, TagError> {
        let length = usize::try_from(self.long()?).map_err(|_| TagError::Malformed("negative length"))?;
        let (text, rest) = self.rest.split_at_checked(length).ok_or(TagError::Malformed("cut off"))?;
        self.rest = rest;
        std::str::from_utf8(text).map(str::to_string).map_err(|_| TagError::Malformed("text is not UTF-8"))
    }
}

fn write_long(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_are_read_as_they_were_written(pairs in vec((any::<String>(), any::<String>()), 0..12)) {
            let tags: Vec<Tag> = pairs.into_iter().map(|(name, value)| Tag::new(name, value)).collect();
            let bytes = encode(&tags).unwrap();
            prop_assert_eq!(decode(&bytes, tags.len() as u64).unwrap(), tags);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in vec(prop_oneof![0u8..6, any::<u8>()], 0..200), declared in 0u64..4) {
            if let Ok(tags) = decode(&bytes, declared) {
                // Blocks and long spellings of lengths are allowed; the usual encoding is never longer.
                let again = encode(&tags).unwrap();
                prop_assert!(again.len() <= bytes.len());
                prop_assert_eq!(decode(&again, declared).unwrap(), tags);
            }
        }
    }

    #[test]
    fn the_example_of_the_format() {
        let tags = [Tag::new("Action", "Eval")];
        let bytes = encode(&tags).unwrap();
        assert_eq!(bytes, b"\x02\x0cAction\x08Eval\x00");
        assert_eq!(decode(&bytes, 1).unwrap(), tags);
        assert_eq!(decode(&bytes, 2), Err(TagError::Count { declared: 2, found: 1 }));
    }

    #[test]
    fn several_blocks_and_sized_blocks_are_read() {
        let several = b"\x02\x02a\x02b\x02\x02c\x02d\x00";
        assert_eq!(decode(several, 2).unwrap(), [Tag::new("a", "b"), Tag::new("c", "d")]);
        let sized = b"\x01\x08\x02a\x02b\x00";
        assert_eq!(decode(sized, 1).unwrap(), [Tag::new("a", "b")]);
        assert!(decode(b"\x01\x06\x02a\x02b\x00", 1).is_err(), "a block of another size than it says");
    }

    #[test]
    fn garbage_is_refused() {
        for bytes in
            [&b"\x02"[..], b"\x02\x02a", b"\x02\x02\xff\x02b\x00", b"\x02\x02a\x02b\x00\x00", b"\x02\x01\x02b\x00"]
        {
            assert!(matches!(decode(bytes, 1), Err(TagError::Malformed(_))), "{bytes:?}");
        }
        let long = [0xff; 11];
        assert!(matches!(decode(&long, 1), Err(TagError::Malformed(_))));
        // i64::MIN tags: no loop for ever, no overflow.
        let mut least = Vec::new();
        write_long(&mut least, i64::MIN);
        assert!(decode(&least, 1).is_err());
    }

    #[test]
    fn tags_are_taken_up_to_the_limit() {
        // One byte of count, two of the name, two of the value's length, one of the end.
        let largest = [Tag::new("a", "x".repeat(MAX_TAG_BYTES - 6))];
        let bytes = encode(&largest).unwrap();
        assert_eq!(bytes.len(), MAX_TAG_BYTES);
        assert_eq!(decode(&bytes, 1).unwrap(), largest);
        let larger = encode(&[Tag::new("a", "x".repeat(MAX_TAG_BYTES - 5))]);
        assert_eq!(larger, Err(TagError::Oversize(MAX_TAG_BYTES + 1)));
        assert_eq!(decode(&[0; MAX_TAG_BYTES + 1], 0), Err(TagError::Oversize(MAX_TAG_BYTES + 1)));
    }
}
