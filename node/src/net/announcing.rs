//! This node's own announcement: renewed at half its lifetime and whenever it listens elsewhere.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ao_protocol::announcement::{Announcement, LIFETIME_MS, MAX_MULTIADDRS, Role};
use ao_protocol::id::Address;
use ao_protocol::wallet::Signer;
use ao_protocol::wire::{Gossip, ItemBytes};
use tokio::time::Instant;
use tracing::{error, warn};

use super::directory::Taken;
use super::owner::Owner;
use super::peer::PeerId;

/// After a failure it is tried again so much later.
const RETRY: Duration = Duration::from_secs(10);

/// What this node says of itself.
pub(super) struct OwnUnit {
    wallet: Arc<dyn Signer>,
    roles: Vec<Role>,
    http_url: Option<String>,
    dev_chain: bool,
    sequence: u64,
    announce_at: Instant,
}

impl OwnUnit {
    pub(super) fn new(
        wallet: Arc<dyn Signer>,
        roles: Vec<Role>,
        http_url: Option<String>,
        dev_chain: bool,
        now: Instant,
    ) -> OwnUnit {
        OwnUnit { wallet, roles, http_url, dev_chain, sequence: 0, announce_at: now }
    }

    pub(super) fn address(&self) -> Address {
        self.wallet.address()
    }

    pub(super) fn announce_soon(&mut self) {
        self.announce_at = Instant::now();
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.announce_at <= now
    }
}

impl Owner {
    /// Signs a new announcement, puts it in the directory and tells everybody.
    pub(super) fn announce(&mut self) {
        let (now, now_ms) = (Instant::now(), now_ms());
        self.unit.announce_at = now + RETRY;
        // Grows even when the clock goes back.
        self.unit.sequence = now_ms.max(self.unit.sequence + 1);
        let announcement = Announcement {
            peer_id: self.own.to_string(),
            multiaddrs: self.swarm.listeners().take(MAX_MULTIADDRS).map(ToString::to_string).collect(),
            http_url: self.unit.http_url.clone(),
            roles: self.unit.roles.clone(),
            dev_chain: self.unit.dev_chain,
            sequence: self.unit.sequence,
            expires_ms: now_ms + LIFETIME_MS,
        };
        let item = match announcement.sign(self.unit.wallet.as_ref()) {
            Ok(item) => ItemBytes(item.bytes().to_vec()),
            Err(cause) => return error!(%cause, "the unit wallet can't sign this node's announcement"),
        };
        match self.directory.take(&item, &self.own, now_ms) {
            Taken::New => {}
            other => return error!(?other, "this node's own announcement does not count"),
        }
        self.unit.announce_at = now + Duration::from_millis(LIFETIME_MS / 2);
        self.spread(item);
        // Gossip may not reach a peer that subscribed just now; a greeting does.
        self.peers.values_mut().for_each(|peer| peer.greet_soon(now));
    }

    /// Takes announcements that a peer told in a greeting, and passes on what is new.
    pub(super) fn learn_units(&mut self, announcements: Vec<ItemBytes>, from: &PeerId) {
        for item in announcements {
            match self.directory.take(&item, from, now_ms()) {
                Taken::New => self.spread(item),
                Taken::Known | Taken::Unusable(_) => {}
                Taken::Invalid(cause) => return warn!(peer = %from, %cause, "a greeting holds a false announcement"),
            }
        }
    }

    fn spread(&mut self, item: ItemBytes) {
        let gossip = Gossip::Announcement(item);
        if let Err(cause) = self.publish_own(&gossip) {
            warn!(%cause, "an announcement could not be gossiped");
        }
    }
}

/// The clock, in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
