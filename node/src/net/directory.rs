//! The directory: who schedules, delivers or computes, and where they are. It is made of announcements alone, each
//! signed by its unit's wallet; the highest sequence of a unit counts until it expires. Everybody may read it, only
//! the owner of the swarm writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ao_protocol::announcement::{Announcement, AnnouncementError, Role};
use ao_protocol::id::Address;
use ao_protocol::item::DataItem;
use ao_protocol::wire::ItemBytes;

use super::limits::{MAX_ANNOUNCEMENT_ITEM_BYTES, MAX_GREETING_ANNOUNCEMENTS, MAX_UNITS, MAX_UNITS_PER_PEER};
use super::peer::PeerId;

/// A unit as it announced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The address of its wallet.
    pub address: Address,
    /// The peer it runs in.
    pub peer: PeerId,
    /// Where the peer listens, without the `/p2p/` part.
    pub multiaddrs: Vec<String>,
    /// Base URL of its HTTP listener, if others can use it.
    pub http_url: Option<String>,
    /// What it does.
    pub roles: Vec<Role>,
    /// Whether it plays Arweave for a local network.
    pub dev_chain: bool,
    /// When its announcement stops counting, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// A view of the directory: cheap to clone, always current, this node's own unit included.
#[derive(Clone, Debug, Default)]
// A std lock: it is held for look-ups in memory only, never across an await.
pub struct Directory(Arc<RwLock<Content>>);

#[derive(Debug, Default)]
struct Content {
    units: BTreeMap<Address, Known>,
    connected: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct Known {
    unit: Unit,
    sequence: u64,
    item: ItemBytes,
}

/// What became of an announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It counts now.
    New,
    /// It, or a later one of the same unit, is known.
    Known,
    /// Nothing is wrong with it, but it does not count here: expired, or no room.
    Unusable(String),
    /// Wrong in itself, whoever looks at it.
    Invalid(String),
}

impl Directory {
    /// The unit of an address.
    pub fn unit(&self, address: &Address) -> Option<Unit> {
        self.read().units.get(address).map(|known| known.unit.clone())
    }

    /// All units, in the order of their addresses.
    pub fn units(&self) -> Vec<Unit> {
        self.read().units.values().map(|known| known.unit.clone()).collect()
    }

    /// The units with a role, in the order of their addresses.
    pub fn units_with(&self, role: Role) -> Vec<Unit> {
        let content = self.read();
        let units = content.units.values().filter(|known| known.unit.roles.contains(&role));
        units.map(|known| known.unit.clone()).collect()
    }

    /// The peers of this network that are connected now, in the order of their ids.
    pub fn connected(&self) -> Vec<PeerId> {
        self.read().connected.iter().cloned().collect()
    }

    /// Whether a peer of this network is connected now.
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.read().connected.contains(peer)
    }

    /// Where a peer listens, as the units that claim it say.
    pub(super) fn addresses(&self, peer: &PeerId) -> Vec<String> {
        let content = self.read();
        let units = content.units.values().filter(|known| known.unit.peer == *peer);
        units.flat_map(|known| known.unit.multiaddrs.iter().cloned()).collect()
    }

    /// What a greeting tells: the own announcement first, then others, bounded.
    pub(super) fn announcements(&self, own: &Address) -> Vec<ItemBytes> {
        let content = self.read();
        let others = content.units.iter().filter(|(address, _)| *address != own);
        let first = content.units.get(own).into_iter();
        let known = first.chain(others.map(|(_, known)| known)).take(MAX_GREETING_ANNOUNCEMENTS);
        known.map(|known| known.item.clone()).collect()
    }

    pub(super) fn set_connected(&self, peer: &PeerId, connected: bool) {
        let mut content = self.write();
        match connected {
            true => content.connected.insert(peer.clone()),
            false => content.connected.remove(peer),
        };
    }

    /// Takes an announcement that `from` handed over or forwarded. A unit whose own peer hands it over always finds
    /// room among those that claim that peer.
    pub(super) fn take(&self, bytes: &ItemBytes, from: &PeerId, now_ms: u64) -> Taken {
        if bytes.0.len() > MAX_ANNOUNCEMENT_ITEM_BYTES {
            return Taken::Invalid(format!("an announcement of {} bytes", bytes.0.len()));
        }
        let item = match DataItem::decode(bytes.0.clone()) {
            Ok(item) => item,
            Err(cause) => return Taken::Invalid(cause.to_string()),
        };
        // Most announcements come several times: those need no second look at the signature.
        if self.read().units.get(&item.address()).is_some_and(|known| known.item == *bytes) {
            return Taken::Known;
        }
        let read = item.verify().map_err(|cause| Taken::Invalid(cause.to_string())).and_then(|item| {
            Announcement::read(&item, now_ms).map_err(|cause| match cause {
                // Clocks differ: that is no fault of whoever forwards it.
                AnnouncementError::Expired { .. } | AnnouncementError::TooLong { .. } => {
                    Taken::Unusable(cause.to_string())
                }
                AnnouncementError::OtherType(_) | AnnouncementError::Malformed(_) => Taken::Invalid(cause.to_string()),
            })
        });
        let (address, announcement) = match read {
            Ok(read) => read,
            Err(taken) => return taken,
        };
        let peer = match announcement.peer_id.parse::<PeerId>() {
            Ok(peer) => peer,
            Err(cause) => return Taken::Invalid(cause.to_string()),
        };
        let sequence = announcement.sequence;
        let unit = Unit {
            address,
            peer,
            multiaddrs: announcement.multiaddrs,
            http_url: announcement.http_url,
            roles: announcement.roles,
            dev_chain: announcement.dev_chain,
            expires_ms: announcement.expires_ms,
        };
        self.write().insert(Known { unit, sequence, item: bytes.clone() }, from)
    }

    /// Forgets what expired.
    pub(super) fn expire(&self, now_ms: u64) {
        let expired = |known: &Known| known.unit.expires_ms <= now_ms;
        if self.read().units.values().any(expired) {
            self.write().units.retain(|_, known| !expired(known));
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Content> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn insert(&mut self, new: Known, from: &PeerId) -> Taken {
        let known = self.units.get(&new.unit.address);
        if known.is_some_and(|known| known.sequence >= new.sequence) {
            return Taken::Known;
        }
        if known.is_none() {
            if self.units.len() >= MAX_UNITS {
                return Taken::Unusable(format!("the directory is full with {MAX_UNITS} units"));
            }
            let claims = self.units.values().filter(|known| known.unit.peer == new.unit.peer);
            if claims.clone().count() >= MAX_UNITS_PER_PEER {
                if *from != new.unit.peer {
                    return Taken::Unusable(format!("{MAX_UNITS_PER_PEER} units claim peer {} already", new.unit.peer));
                }
                let oldest = claims.min_by_key(|known| known.unit.expires_ms).map(|known| known.unit.address);
                oldest.and_then(|address| self.units.remove(&address));
            }
        }
        self.units.insert(new.unit.address, new);
        Taken::New
    }
}

#[cfg(test)]
mod tests {
    use ao_protocol::announcement::LIFETIME_MS;
    use ao_protocol::item::ItemBuilder;
    use ao_protocol::wallet::{Signer, Wallet};

    use super::*;
    use crate::net::peer::PeerKey;

    const NOW: u64 = 1_000_000;

    fn wallet(seed: u16) -> Wallet {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&seed.to_le_bytes());
        Wallet::ed25519_from_seed(bytes)
    }

    fn announce(wallet: &Wallet, peer: &PeerId, sequence: u64, roles: &[Role]) -> ItemBytes {
        let announcement = Announcement {
            peer_id: peer.to_string(),
            multiaddrs: vec![format!("/ip4/127.0.0.1/tcp/{sequence}")],
            http_url: None,
            roles: roles.to_vec(),
            dev_chain: false,
            sequence,
            expires_ms: NOW + LIFETIME_MS,
        };
        ItemBytes(announcement.sign(wallet).unwrap().bytes().to_vec())
    }

    fn peer() -> PeerId {
        PeerKey::generate().peer_id()
    }

    #[test]
    fn the_highest_sequence_counts_until_it_expires() {
        let (directory, peer, wallet) = (Directory::default(), peer(), wallet(1));
        let first = announce(&wallet, &peer, 5, &[Role::Su]);
        assert_eq!(directory.take(&first, &peer, NOW), Taken::New);
        assert_eq!(directory.take(&first, &peer, NOW), Taken::Known);
        assert_eq!(directory.take(&announce(&wallet, &peer, 4, &[]), &peer, NOW), Taken::Known);
        assert_eq!(directory.unit(&wallet.address()).unwrap().roles, [Role::Su]);
        assert_eq!(directory.take(&announce(&wallet, &peer, 6, &[Role::Cu]), &peer, NOW), Taken::New);
        assert_eq!(directory.units_with(Role::Su), []);
        assert_eq!(directory.units_with(Role::Cu).len(), 1);
        assert_eq!(directory.addresses(&peer), ["/ip4/127.0.0.1/tcp/6"]);
        directory.expire(NOW + LIFETIME_MS - 1);
        assert_eq!(directory.units().len(), 1);
        directory.expire(NOW + LIFETIME_MS);
        assert_eq!(directory.units(), []);
        assert!(matches!(directory.take(&first, &peer, NOW + LIFETIME_MS), Taken::Unusable(_)));
    }

    #[test]
    fn what_is_wrong_in_itself_is_told_from_what_is_not_useful_here() {
        let (directory, peer, wallet) = (Directory::default(), peer(), wallet(1));
        let mut forged = announce(&wallet, &peer, 1, &[Role::Su]);
        let last = forged.0.len() - 1;
        forged.0[last] ^= 1;
        assert!(matches!(directory.take(&forged, &peer, NOW), Taken::Invalid(_)));
        assert!(matches!(directory.take(&ItemBytes(vec![1, 2, 3]), &peer, NOW), Taken::Invalid(_)));
        let message = ItemBuilder::new().tag("Type", "Message").sign(&wallet).unwrap();
        assert!(matches!(directory.take(&ItemBytes(message.bytes().to_vec()), &peer, NOW), Taken::Invalid(_)));
        let early = announce(&wallet, &peer, 1, &[]);
        assert!(matches!(directory.take(&early, &peer, 1), Taken::Unusable(_)), "it lasts too long for this clock");
        assert_eq!(directory.units(), []);
    }

    #[test]
    fn strangers_cannot_crowd_out_a_peer_of_its_own_units() {
        let (directory, victim, stranger) = (Directory::default(), peer(), peer());
        for seed in 0..MAX_UNITS_PER_PEER as u16 {
            assert_eq!(directory.take(&announce(&wallet(seed), &victim, 1, &[]), &stranger, NOW), Taken::New);
        }
        let own = announce(&wallet(99), &victim, 1, &[Role::Su]);
        assert!(matches!(directory.take(&own, &stranger, NOW), Taken::Unusable(_)));
        assert_eq!(directory.take(&own, &victim, NOW), Taken::New);
        assert_eq!(directory.units().len(), MAX_UNITS_PER_PEER);
        assert!(directory.unit(&wallet(99).address()).is_some());
    }

    #[test]
    fn a_greeting_tells_the_own_announcement_first() {
        let (directory, peer) = (Directory::default(), peer());
        for seed in 0..4 {
            directory.take(&announce(&wallet(seed), &peer, 1, &[]), &peer, NOW);
        }
        for seed in 0..4 {
            let told = directory.announcements(&wallet(seed).address());
            assert_eq!(told.len(), 4);
            assert_eq!(told[0], announce(&wallet(seed), &peer, 1, &[]));
        }
    }
}
