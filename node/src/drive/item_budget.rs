//! How much a peer may have stored here by gossiping items without a slot: these cost nothing to make.

use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::net::PeerId;

/// Bytes of items without a slot that are taken from one peer at once.
const MAX_ITEM_GOSSIP_BURST: NonZeroU32 = NonZeroU32::new(16 * 1024 * 1024).unwrap();
/// Bytes of them a second that are taken from one peer in the long run.
const MAX_ITEM_GOSSIP_RATE: NonZeroU32 = NonZeroU32::new(64 * 1024).unwrap();

/// The budgets of all peers.
#[derive(Debug)]
pub(super) struct ItemBudget(DefaultKeyedRateLimiter<PeerId>);

impl Default for ItemBudget {
    fn default() -> ItemBudget {
        let quota = Quota::per_second(MAX_ITEM_GOSSIP_RATE).allow_burst(MAX_ITEM_GOSSIP_BURST);
        ItemBudget(RateLimiter::keyed(quota))
    }
}

impl ItemBudget {
    /// Takes so many bytes from a peer's budget; false, and nothing taken, when that is too much now.
    pub(super) fn takes(&self, peer: &PeerId, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        let Some(bytes) = NonZeroU32::new(bytes) else { return true };
        matches!(self.0.check_key_n(peer, bytes), Ok(Ok(())))
    }

    /// Forgets the peers whose budget is whole again.
    pub(super) fn forget_rested(&self) {
        self.0.retain_recent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::PeerKey;

    #[test]
    fn a_peer_that_sends_too_much_waits_and_others_do_not() {
        let budget = ItemBudget::default();
        let (greedy, other) = (PeerKey::generate().peer_id(), PeerKey::generate().peer_id());
        let burst = MAX_ITEM_GOSSIP_BURST.get() as usize;
        assert!(budget.takes(&greedy, burst / 2));
        assert!(budget.takes(&greedy, burst / 2));
        assert!(!budget.takes(&greedy, burst / 2));
        assert!(!budget.takes(&other, burst + 1), "more than the whole budget");
        assert!(budget.takes(&other, burst));
        budget.forget_rested();
        assert!(!budget.takes(&greedy, burst / 2), "a budget that is spent is remembered");
    }
}
