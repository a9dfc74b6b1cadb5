//! Data of a transaction in pieces: how it is cut, the merkle tree over the pieces, and the proof of a piece's place.
//! As Arweave nodes and arweave-js do it.

use std::io::{self, Read};
use std::ops::Range;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::id::Digest;

/// Largest piece in bytes.
pub const MAX_CHUNK_BYTES: usize = 262_144;
/// Smallest piece in bytes, but for data that is smaller: the last two pieces share what is left.
pub const MIN_CHUNK_BYTES: usize = 32_768;
/// Largest proof in bytes: a branch for each level of the tree over as much data as an offset can name, and the leaf.
pub const MAX_DATA_PATH_BYTES: usize = 64 * BRANCH_BYTES + LEAF_BYTES;

/// An id, an offset or a hash.
const HASH_BYTES: usize = 32;
/// Left id, right id, where the left ends.
const BRANCH_BYTES: usize = 3 * HASH_BYTES;
/// Hash of the data, where it ends.
const LEAF_BYTES: usize = 2 * HASH_BYTES;

/// A piece of data and the proof of its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its first byte.
    pub start: u64,
    /// The byte behind its last; uploads name it by `end - 1`.
    pub end: u64,
    /// The way from the root to it, as `data_path` on the wire.
    pub proof: Vec<u8>,
}

/// Data cut into pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// What a transaction signs for its data.
    pub root: Digest,
    /// The pieces in order, without the empty one that ends data of a multiple of the largest piece.
    pub chunks: Vec<Chunk>,
}

/// Why a piece is not where it is said to be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the proof does not lead from the data root to this piece of data")]
pub struct ChunkError;

struct Node {
    id: [u8; 32],
    end: u64,
    /// Pieces below it, as places in the list.
    leaves: Range<usize>,
}

/// Cuts data. Empty data is one empty leaf without a piece.
pub fn split(data: &[u8]) -> Chunks {
    let piece = |range: Range<u64>| {
        let hash = hash(&[data.get(range.start as usize..range.end as usize).unwrap_or_default()]);
        (range, hash)
    };
    tree(cuts(data.len() as u64).map(piece).collect())
}

/// Cuts data of so many bytes that is read piece by piece; an error if there is less.
pub fn split_from(data: &mut impl Read, size: u64) -> io::Result<Chunks> {
    let mut buffer = vec![0; MAX_CHUNK_BYTES];
    let mut pieces = Vec::new();
    for range in cuts(size) {
        let piece = buffer.get_mut(..(range.end - range.start) as usize).unwrap_or_default();
        data.read_exact(piece)?;
        pieces.push((range, hash(&[piece])));
    }
    Ok(tree(pieces))
}

/// The pieces that data of so many bytes is cut into; the last one may be empty, and is part of the tree all the same.
fn cuts(size: u64) -> impl Iterator<Item = Range<u64>> {
    let (most, least) = (MAX_CHUNK_BYTES as u64, MIN_CHUNK_BYTES as u64);
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        let left = size - start;
        let Some(after) = left.checked_sub(most) else {
            next = None;
            return Some(start..size);
        };
        let end = start + if after > 0 && after < least { left.div_ceil(2) } else { most };
        next = Some(end);
        Some(start..end)
    })
}

/// The tree over pieces that are known by their hashes.
fn tree(pieces: Vec<(Range<u64>, [u8; 32])>) -> Chunks {
    let mut proofs: Vec<Vec<Vec<u8>>> = vec![Vec::new(); pieces.len()];
    let leaf = |(place, (range, data_hash)): (usize, &(Range<u64>, [u8; 32]))| {
        let end = range.end;
        Node { id: hash(&[&hash(&[data_hash]), &hash(&[&note(end)])]), end, leaves: place..place + 1 }
    };
    let mut level: Vec<Node> = pieces.iter().enumerate().map(leaf).collect();
    while level.len() > 1 {
        let mut above = Vec::with_capacity(level.len().div_ceil(2));
        let mut nodes = level.into_iter();
        while let Some(left) = nodes.next() {
            let Some(right) = nodes.next() else {
                above.push(left);
                break;
            };
            let branch = [&left.id[..], &right.id, &note(left.end)].concat();
            let leaves = left.leaves.start..right.leaves.end;
            proofs[leaves.clone()].iter_mut().for_each(|proof| proof.push(branch.clone()));
            above.push(Node { id: branch_id(&left.id, &right.id, left.end), end: right.end, leaves });
        }
        level = above;
    }
    let root = level.first().map_or([0; 32], |node| node.id);
    let chunks = pieces.iter().zip(proofs).filter(|((range, _), _)| !range.is_empty());
    let chunks = chunks.map(|((range, data_hash), branches)| {
        let mut proof: Vec<u8> = branches.into_iter().rev().flatten().collect();
        proof.extend(data_hash);
        proof.extend(note(range.end));
        Chunk { start: range.start, end: range.end, proof }
    });
    Chunks { root: Digest::from(root), chunks: chunks.collect() }
}

/// The place of a piece, as its proof shows it: `offset` is any byte in it. The piece must be what the proof is for.
pub fn validate(root: &Digest, size: u64, offset: u64, proof: &[u8], chunk: &[u8]) -> Result<Range<u64>, ChunkError> {
    let (range, data_hash) = validate_path(root, size, offset, proof)?;
    let fits = range.end - range.start == chunk.len() as u64 && hash(&[chunk]) == data_hash;
    if fits { Ok(range) } else { Err(ChunkError) }
}

/// The place of the piece that holds a byte, and the hash of the piece, as a proof shows them.
pub fn validate_path(
    root: &Digest,
    size: u64,
    offset: u64,
    proof: &[u8],
) -> Result<(Range<u64>, [u8; 32]), ChunkError> {
    if offset >= size || proof.len() > MAX_DATA_PATH_BYTES {
        return Err(ChunkError);
    }
    let mut expected = root.to_bytes();
    let mut range = 0..size;
    let mut rest = proof;
    while rest.len() > LEAF_BYTES {
        let (branch, below) = rest.split_at_checked(BRANCH_BYTES).ok_or(ChunkError)?;
        let (left, right, end) = (part(branch, 0)?, part(branch, 1)?, offset_of(part(branch, 2)?)?);
        if branch_id(&left, &right, end) != expected {
            return Err(ChunkError);
        }
        (expected, range) = if offset < end {
            (left, range.start..range.end.min(end))
        } else {
            (right, range.start.max(end)..range.end)
        };
        rest = below;
    }
    let (data_hash, end) = (part(rest, 0)?, offset_of(part(rest, 1)?)?);
    let is_leaf = rest.len() == LEAF_BYTES && hash(&[&hash(&[&data_hash]), &hash(&[&note(end)])]) == expected;
    if is_leaf && end == range.end && range.contains(&offset) { Ok((range, data_hash)) } else { Err(ChunkError) }
}

fn part(bytes: &[u8], place: usize) -> Result<[u8; 32], ChunkError> {
    let found = bytes.get(place * HASH_BYTES..(place + 1) * HASH_BYTES);
    found.and_then(|found| found.try_into().ok()).ok_or(ChunkError)
}

/// An offset as 32 bytes, the highest first; none of ours needs more than the last eight.
fn offset_of(note: [u8; 32]) -> Result<u64, ChunkError> {
    match note.split_last_chunk::<8>() {
        Some((high, low)) if high.iter().all(|byte| *byte == 0) => Ok(u64::from_be_bytes(*low)),
        _ => Err(ChunkError),
    }
}

fn note(offset: u64) -> [u8; 32] {
    let mut note = [0; 32];
    note[24..].copy_from_slice(&offset.to_be_bytes());
    note
}

fn branch_id(left: &[u8; 32], right: &[u8; 32], end: u64) -> [u8; 32] {
    hash(&[&hash(&[left]), &hash(&[right]), &hash(&[&note(end)])])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_those_of_arweave() {
        for (size, chunks, root) in [
            (1, vec![1], "Ht_yZhXGBDUZfLv4OD6we7FkrjcpDpGPwQZEZgEJVfk"),
            (262_143, vec![262_143], "LhzGlp7-fwxJ76Gxu1tWZxJlJIk_xSlw1gNaOAHf0M4"),
            (262_144, vec![262_144], "52DNVt8uvPh8pl28AF3nbEZhL-hZTTm39QQb70qBUYw"),
            (262_145, vec![131_073, 131_072], "br1Vtl3TS_NGWdHmYqBh3-MxrlckoluHCZGmUZk-dJc"),
            (294_911, vec![147_456, 147_455], "wyvwYFO5SDtwHx8zHWsxbQmWZgHRI5geZ3g4vcQBZVo"),
            (294_912, vec![262_144, 32_768], "0nSiWfIOVNq8U7Ynp0pO0y_cfqfKP1C7-N4LNjKzm_M"),
            (524_288, vec![262_144, 262_144], "zJuJu7Dwmaj6mkfzgUIBtWC34UwdfhK6XXv_WqvC25Y"),
            (1_000_000, vec![262_144, 262_144, 262_144, 213_568], "rOPBUCg4tgXD4S8Yb7cvhkil4T0xHw2Mq-ar3RKk_EQ"),
        ] {
            let data = vec![0; size];
            let split = split(&data);
            assert_eq!(split_from(&mut &data[..], size as u64).unwrap(), split);
            assert!(split_from(&mut &data[1..], size as u64).is_err());
            assert_eq!(split.root.to_string(), root, "{size} bytes");
            let sizes: Vec<u64> = split.chunks.iter().map(|chunk| chunk.end - chunk.start).collect();
            assert_eq!(sizes, chunks, "{size} bytes");
        }
    }

    #[test]
    fn every_piece_is_proven_and_a_changed_proof_is_not() {
        for size in [1, 5000, 262_144, 262_145, 524_288, 1_310_721] {
            let data: Vec<u8> = (0..size).map(|n: u32| ((n * 31) >> 3) as u8).collect();
            let Chunks { root, chunks } = split(&data);
            let size = data.len() as u64;
            assert_eq!(chunks.last().unwrap().end, size);
            for chunk in &chunks {
                let bytes = &data[chunk.start as usize..chunk.end as usize];
                for offset in [chunk.start, chunk.end - 1] {
                    assert_eq!(validate(&root, size, offset, &chunk.proof, bytes), Ok(chunk.start..chunk.end));
                }
                assert!(validate(&root, size, chunk.end, &chunk.proof, bytes).is_err());
                assert!(validate(&root, size, chunk.start, &chunk.proof, &bytes[1..]).is_err());
                for place in 0..chunk.proof.len() {
                    let mut proof = chunk.proof.clone();
                    proof[place] ^= 1;
                    assert!(validate(&root, size, chunk.start, &proof, bytes).is_err(), "byte {place}");
                    assert!(validate(&root, size, chunk.start, &chunk.proof[..place], bytes).is_err());
                }
            }
        }
    }

    #[test]
    fn a_proof_is_for_one_size() {
        let data = vec![7; 300_000];
        let Chunks { root, chunks } = split(&data);
        let last = chunks.last().unwrap();
        let bytes = &data[last.start as usize..];
        assert!(validate(&root, 300_001, 299_999, &last.proof, bytes).is_err());
        assert!(validate(&root, 299_999, 299_998, &last.proof, bytes).is_err());
    }
}
