//! Items that this node verified a moment ago. One item comes in several times: from a client, in gossip on its way to
//! its scheduler, and in its log entry; its signature is checked once.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use ao_protocol::item::{DataItem, ItemError, VerifiedItem};
use ao_protocol::wire::ItemBytes;

/// Items that are remembered at least; twice as many at most.
const REMEMBERED: usize = 8192;

/// Hashes of whole items, signatures included, that were found good.
#[derive(Default)]
pub struct Verified(Mutex<Generations>);

/// When the young are many they become the old, and the old are forgotten.
#[derive(Default)]
struct Generations {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl Verified {
    /// Verifies an item, unless this very item was verified before.
    pub fn verify(&self, bytes: Vec<u8>) -> Result<VerifiedItem, ItemError> {
        let hash = *blake3::hash(&bytes).as_bytes();
        if self.knows(&hash) {
            return VerifiedItem::from_own_store(bytes);
        }
        let item = DataItem::decode(bytes)?.verify()?;
        self.remember(hash);
        Ok(item)
    }

    /// Verifies an item off the tasks that serve the network, for an RSA signature takes a while. The error is for
    /// whoever sent it.
    pub async fn verify_or_say(&self, bytes: ItemBytes) -> Result<VerifiedItem, String> {
        let hash = *blake3::hash(&bytes.0).as_bytes();
        if self.knows(&hash) {
            return VerifiedItem::from_own_store(bytes.0).map_err(|cause| cause.to_string());
        }
        match tokio::task::spawn_blocking(move || DataItem::decode(bytes.0).and_then(DataItem::verify)).await {
            Ok(Ok(item)) => {
                self.remember(hash);
                Ok(item)
            }
            Ok(Err(cause)) => Err(cause.to_string()),
            Err(_) => Err("the node is stopping".into()),
        }
    }

    fn knows(&self, hash: &[u8; 32]) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.young.contains(hash) || known.old.contains(hash)
    }

    fn remember(&self, hash: [u8; 32]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.young.len() >= REMEMBERED {
            known.old = std::mem::take(&mut known.young);
        }
        known.young.insert(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ao_protocol::item::ItemBuilder;
    use ao_protocol::wallet::Wallet;

    #[test]
    fn a_good_item_does_not_make_a_changed_one_good() {
        let verified = Verified::default();
        let item = ItemBuilder::new().data("x").sign(&Wallet::ed25519_from_seed([1; 32])).unwrap();
        for _ in 0..2 {
            assert_eq!(verified.verify(item.bytes().to_vec()).unwrap().id(), item.id());
        }
        for place in 0..item.bytes().len() {
            let mut changed = item.bytes().to_vec();
            changed[place] ^= 1;
            for _ in 0..2 {
                assert!(verified.verify(changed.clone()).is_err(), "byte {place}");
            }
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let verified = Verified::default();
        let hash = |n: usize| *blake3::hash(&n.to_le_bytes()).as_bytes();
        for n in 0..5 * REMEMBERED {
            verified.remember(hash(n));
        }
        let known = verified.0.lock().unwrap();
        assert!(known.young.len() + known.old.len() <= 2 * REMEMBERED);
        drop(known);
        assert!(verified.knows(&hash(5 * REMEMBERED - 1)) && verified.knows(&hash(4 * REMEMBERED)));
        assert!(!verified.knows(&hash(0)));
    }
}
