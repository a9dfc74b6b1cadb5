//! Bundles (ANS-104): many items in the data of one transaction or item.

use super::{DataItem, ItemError, MAX_ITEM_BYTES, VerifiedItem};
use crate::id::Id;

/// Most items in one bundle.
pub const MAX_BUNDLED_ITEMS: usize = 100_000;
/// How deep bundles within bundles are followed.
pub const MAX_NESTING: usize = 8;

/// Bytes of an entry in the table: size and id.
const TABLE_ENTRY: usize = 64;

/// Puts items into a bundle.
pub fn encode(items: &[VerifiedItem]) -> Vec<u8> {
    let mut bytes = number(items.len()).to_vec();
    for item in items {
        bytes.extend_from_slice(&number(item.bytes().len()));
        bytes.extend_from_slice(item.id().as_ref());
    }
    for item in items {
        bytes.extend_from_slice(item.bytes());
    }
    bytes
}

/// Takes the items out of a bundle. Their ids are those of the table; their signatures are not checked.
pub fn decode(bytes: &[u8]) -> Result<Vec<DataItem>, ItemError> {
    let cut = ItemError::Bundle("it is cut off");
    let (count, rest) = bytes.split_at_checked(32).ok_or(cut)?;
    let count = small(count).filter(|count| *count <= MAX_BUNDLED_ITEMS).ok_or(ItemError::Bundle("too many items"))?;
    let (table, mut rest) =
        rest.split_at_checked(count * TABLE_ENTRY).ok_or(ItemError::Bundle("its table is cut off"))?;
    let mut items = Vec::with_capacity(count.min(1024));
    for entry in table.chunks_exact(TABLE_ENTRY) {
        let (size, id) = entry.split_at(32);
        let size =
            small(size).filter(|size| *size <= MAX_ITEM_BYTES).ok_or(ItemError::Bundle("an item is too large"))?;
        let (item, after) = rest.split_at_checked(size).ok_or(ItemError::Bundle("an item is cut off"))?;
        rest = after;
        let item = DataItem::decode(item)?;
        if item.id().as_ref() != id {
            return Err(ItemError::Bundle("an item has another id than the table says"));
        }
        items.push(item);
    }
    if rest.is_empty() { Ok(items) } else { Err(ItemError::Bundle("bytes are left over")) }
}

/// Whether an item's data is a bundle, by its tags.
pub fn is_bundle(item: &DataItem) -> bool {
    item.tag("Bundle-Format") == Some("binary") && item.tag("Bundle-Version") == Some("2.0.0")
}

/// All items of a bundle and of the bundles in it, each with the id of the item that holds it directly, if one does.
pub fn decode_nested(bytes: &[u8]) -> Result<Vec<(DataItem, Option<Id>)>, ItemError> {
    let mut found = Vec::new();
    let mut open: Vec<(DataItem, Option<Id>, usize)> =
        decode(bytes)?.into_iter().rev().map(|item| (item, None, 1)).collect();
    while let Some((item, parent, depth)) = open.pop() {
        if found.len() >= MAX_BUNDLED_ITEMS {
            return Err(ItemError::Bundle("too many items"));
        }
        if is_bundle(&item) {
            if depth >= MAX_NESTING {
                return Err(ItemError::Bundle("nested too deeply"));
            }
            let inner = decode(item.data())?;
            open.extend(inner.into_iter().rev().map(|inner| (inner, Some(item.id()), depth + 1)));
        }
        found.push((item, parent));
    }
    Ok(found)
}

/// A number as 32 bytes, little-endian.
fn number(value: usize) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (byte, value) in bytes.iter_mut().zip((value as u64).to_le_bytes()) {
        *byte = value;
    }
    bytes
}

/// A number of 32 bytes that fits into a machine word.
fn small(bytes: &[u8]) -> Option<usize> {
    let (low, high) = bytes.split_at_checked(8)?;
    let low = u64::from_le_bytes(low.try_into().ok()?);
    if high.iter().all(|byte| *byte == 0) { usize::try_from(low).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::ItemBuilder;
    use crate::wallet::Wallet;

    fn item(data: &[u8]) -> VerifiedItem {
        ItemBuilder::new().data(data).sign(&Wallet::ed25519_from_seed([1; 32])).unwrap()
    }

    #[test]
    fn bundles_within_bundles_come_apart_again() {
        let wallet = Wallet::ed25519_from_seed([1; 32]);
        let inner = encode(&[item(b"b"), item(b"c")]);
        let nested = ItemBuilder::new().tag("Bundle-Format", "binary").tag("Bundle-Version", "2.0.0").data(inner);
        let nested = nested.sign(&wallet).unwrap();
        let outer = encode(&[item(b"a"), nested.clone(), item(b"d")]);
        let found = decode_nested(&outer).unwrap();
        let parents: Vec<_> = found.iter().map(|(item, parent)| (item.id(), *parent)).collect();
        let expected = [
            (item(b"a").id(), None),
            (nested.id(), None),
            (item(b"b").id(), Some(nested.id())),
            (item(b"c").id(), Some(nested.id())),
            (item(b"d").id(), None),
        ];
        assert_eq!(parents, expected);
        assert_eq!(encode(&[]), [0; 32]);
        assert!(decode(&[0; 32]).unwrap().is_empty());
    }

    #[test]
    fn bundles_are_followed_to_the_limit() {
        let wallet = Wallet::ed25519_from_seed([1; 32]);
        let nested = |depth: usize| {
            (1..depth).fold(encode(&[item(b"a")]), |inner, _| {
                let carrier =
                    ItemBuilder::new().tag("Bundle-Format", "binary").tag("Bundle-Version", "2.0.0").data(inner);
                encode(&[carrier.sign(&wallet).unwrap()])
            })
        };
        assert_eq!(decode_nested(&nested(MAX_NESTING)).unwrap().len(), MAX_NESTING);
        assert!(matches!(decode_nested(&nested(MAX_NESTING + 1)), Err(ItemError::Bundle("nested too deeply"))));
    }

    #[test]
    fn counts_and_sizes_beyond_the_limits_are_refused_before_anything_is_read() {
        assert!(matches!(decode(&number(MAX_BUNDLED_ITEMS + 1)), Err(ItemError::Bundle("too many items"))));
        assert!(matches!(decode(&number(MAX_BUNDLED_ITEMS)), Err(ItemError::Bundle("its table is cut off"))));
        assert!(matches!(decode(&[0xff; 32]), Err(ItemError::Bundle("too many items"))));
        let entry = |size: [u8; 32]| [number(1), size, [0; 32]].concat();
        for size in [number(MAX_ITEM_BYTES + 1), [0xff; 32]] {
            assert!(matches!(decode(&entry(size)), Err(ItemError::Bundle("an item is too large"))));
        }
        assert!(matches!(decode(&entry(number(0))), Err(ItemError::CutOff(_))));
    }

    #[test]
    fn damage_is_refused() {
        let good = encode(&[item(b"a"), item(b"b")]);
        for end in 0..good.len() {
            assert!(decode(&good[..end]).is_err(), "cut off at {end}");
        }
        let mut more = good.clone();
        more.push(0);
        assert!(decode(&more).is_err());
        for place in [0, 31, 32, 63, 64, 95] {
            let mut other = good.clone();
            other[place] ^= 1;
            assert!(decode(&other).is_err(), "byte {place}");
        }
    }
}
