//! Arweave's deep hash with SHA-384: what the signature of an item or transaction is over.

use aws_lc_rs::digest::{Context, SHA384, digest};

/// A value to be hashed: bytes, or a list of values.
#[derive(Clone, Copy)]
pub enum DeepHash<'a> {
    /// Bytes.
    Blob(&'a [u8]),
    /// Bytes that are not at hand: how many, and their SHA-384.
    Digest(u64, &'a [u8; 48]),
    /// A list.
    List(&'a [DeepHash<'a>]),
}

impl DeepHash<'_> {
    /// The hash of the value.
    pub fn hash(&self) -> [u8; 48] {
        match self {
            DeepHash::Blob(bytes) => DeepHash::Digest(bytes.len() as u64, &sha384(bytes)).hash(),
            DeepHash::Digest(size, digest) => join(&sha384(format!("blob{size}").as_bytes()), digest),
            DeepHash::List(children) => {
                let tag = format!("list{}", children.len());
                children.iter().fold(sha384(tag.as_bytes()), |so_far, child| join(&so_far, &child.hash()))
            }
        }
    }
}

/// The deep hash of a list of byte strings.
pub fn list(blobs: &[&[u8]]) -> [u8; 48] {
    let children: Vec<DeepHash<'_>> = blobs.iter().map(|bytes| DeepHash::Blob(bytes)).collect();
    DeepHash::List(&children).hash()
}

/// SHA-384 of bytes.
pub fn sha384(bytes: &[u8]) -> [u8; 48] {
    fixed(digest(&SHA384, bytes).as_ref())
}

fn join(left: &[u8; 48], right: &[u8; 48]) -> [u8; 48] {
    let mut context = Context::new(&SHA384);
    context.update(left);
    context.update(right);
    fixed(context.finish().as_ref())
}

fn fixed(hash: &[u8]) -> [u8; 48] {
    hash.try_into().unwrap_or_else(|_| unreachable!("SHA-384 has 48 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn vectors_of_the_reference() {
        use DeepHash::{Blob, List};
        let cases: [(DeepHash<'_>, &str); 4] = [
            (
                Blob(b""),
                "fbf00cc444f5fea9dc3bedf62a13fba8ae87e7445fc910567a23bec4eb82fadb1143c433069314d8362983dc3c2e4a38",
            ),
            (
                Blob(b"abc"),
                "71115a30152ebcffb6defbb643abc8ef76f01fe323f1d62340646085960f6e347cb2d8e9a46ddee655b3012c6131d4e0",
            ),
            (
                List(&[]),
                "a69e7d37fdc7f040a9ec16aae84de24fab4a653dac4de0bd247e36bab9fe45d9289c5a04a893c95285812f5cefc9707a",
            ),
            (
                List(&[Blob(b"a"), List(&[Blob(b"b"), Blob(b"")])]),
                "f6836f1d993d04b1a1c4add3023cb851638df615b6a2c194af97d855d79d1c0e111d21f17f7d06f01b5f790ca494cf51",
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(hex(&value.hash()), expected);
        }
    }
}
