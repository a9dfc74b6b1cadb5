//! Taking bundles apart: what is in them is kept as if it had come alone, and found as what it came in.

use std::collections::HashSet;

use ao_protocol::id::Id;
use ao_protocol::item::bundle::{decode_nested, is_bundle};
use ao_protocol::item::{DataItem, VerifiedItem};
use ao_protocol::log::LogError;
use tracing::debug;

use super::World;
use crate::store::Store;

/// Most items that are kept in one write.
const MAX_UNBUNDLE_BATCH: usize = 256;

/// Keeps what is in an item, if it is a bundle; says how many items that were.
pub async fn unpack_item(world: &World, item: &VerifiedItem) -> Result<usize, LogError> {
    if !is_bundle(item) {
        return Ok(0);
    }
    let (world, item) = (world.clone(), item.clone());
    let unpacked = tokio::task::spawn_blocking(move || unpack(world.log(), item.id(), item.data()));
    // It can't be joined when the node is stopping.
    unpacked.await.unwrap_or(Ok(0))
}

/// Keeps the items of a bundle and of the bundles in it, as many and as deep as the protocol follows them; says how
/// many there were. `carrier` is the transaction or item whose data it is. Items that can't be verified are left out
/// with all that is in them, and a bundle whose frame is wrong is left alone. Blocks: signatures are checked.
pub fn unpack(store: &Store, carrier: Id, bundle: &[u8]) -> Result<usize, LogError> {
    let items = match decode_nested(bundle) {
        Ok(items) => items,
        Err(cause) => {
            debug!(%carrier, %cause, "what is called a bundle is none");
            return Ok(0);
        }
    };
    let mut refused: HashSet<Id> = HashSet::new();
    let mut kept: Vec<(VerifiedItem, Id)> = Vec::new();
    let mut count = 0;
    for (item, holder) in items {
        let id = item.id();
        match DataItem::verify(item) {
            Ok(item) if holder.is_none_or(|holder| !refused.contains(&holder)) => {
                kept.push((item, holder.unwrap_or(carrier)));
            }
            _ => {
                debug!(%carrier, item = %id, "an item of a bundle is left out");
                refused.insert(id);
            }
        }
        if kept.len() == MAX_UNBUNDLE_BATCH {
            store.keep_bundled(&kept)?;
            count += kept.len();
            kept.clear();
        }
    }
    store.keep_bundled(&kept)?;
    Ok(count + kept.len())
}

#[cfg(test)]
mod tests {
    use ao_protocol::item::{ItemBuilder, bundle};
    use ao_protocol::log::Log;
    use ao_protocol::wallet::Wallet;

    use super::*;

    fn carrier(items: &[VerifiedItem]) -> VerifiedItem {
        let bundle = ItemBuilder::new().tag("Bundle-Format", "binary").tag("Bundle-Version", "2.0.0");
        bundle.data(bundle::encode(items)).sign(&Wallet::ed25519_from_seed([1; 32])).unwrap()
    }

    fn forged(item: &VerifiedItem) -> VerifiedItem {
        let mut bytes = item.bytes().to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        VerifiedItem::from_own_store(bytes).unwrap()
    }

    #[test]
    fn what_is_in_a_bundle_is_kept_with_what_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let wallet = Wallet::ed25519_from_seed([1; 32]);
        let item = |data: &[u8]| ItemBuilder::new().data(data).sign(&wallet).unwrap();
        let inner = carrier(&[item(b"b"), forged(&item(b"c"))]);
        let outer = carrier(&[item(b"a"), inner.clone(), forged(&item(b"d"))]);
        // The last byte of this one is that of an item in it: all of it is false.
        let false_inner = forged(&carrier(&[item(b"e"), item(b"f")]));
        let other = carrier(&[false_inner]);
        assert_eq!(unpack(&store, outer.id(), outer.data()).unwrap(), 3);
        assert_eq!(unpack(&store, other.id(), other.data()).unwrap(), 0);
        assert_eq!(store.bundled_in(&item(b"a").id()).unwrap(), Some(outer.id()));
        assert_eq!(store.bundled_in(&inner.id()).unwrap(), Some(outer.id()));
        assert_eq!(store.bundled_in(&item(b"b").id()).unwrap(), Some(inner.id()));
        assert_eq!(store.item(&item(b"b").id()).unwrap().unwrap().data(), b"b");
        for refused in [b"c", b"d", b"e", b"f"] {
            assert!(store.item(&item(refused).id()).unwrap().is_none());
        }
        assert_eq!(unpack(&store, outer.id(), b"no bundle").unwrap(), 0);
    }
}
