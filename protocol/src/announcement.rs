//! An announcement: a node says, signed by its unit wallet, which peer it is, where it listens and which roles it
//! plays. The directory of schedulers, messengers and compute units is made of these alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::Address;
use crate::item::{ItemBuilder, ItemError, VerifiedItem};
use crate::wallet::Signer;

/// How long an announcement counts after it was made, in milliseconds.
pub const LIFETIME_MS: u64 = 10 * 60 * 1000;
/// How far in the future an announcement's expiry may lie beyond [`LIFETIME_MS`]: clocks differ.
pub const CLOCK_TOLERANCE_MS: u64 = 60 * 1000;
/// Most multiaddrs in one announcement.
pub const MAX_MULTIADDRS: usize = 16;
/// Most bytes of an announcement's data.
pub const MAX_ANNOUNCEMENT_BYTES: usize = 8 * 1024;

/// What a unit does for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Messenger unit: takes users' messages and delivers what processes send.
    Mu,
    /// Scheduler unit: gives messages their slots.
    Su,
    /// Compute unit: evaluates processes.
    Cu,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 3] = [Role::Mu, Role::Su, Role::Cu];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Mu => "mu",
            Role::Su => "su",
            Role::Cu => "cu",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        match text {
            "mu" => Ok(Role::Mu),
            "su" => Ok(Role::Su),
            "cu" => Ok(Role::Cu),
            other => Err(format!("unknown role {other:?}; the roles are mu, su and cu")),
        }
    }
}

/// The signed content of an announcement, carried as JSON in the item's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The libp2p peer id as text.
    pub peer_id: String,
    /// Where the peer listens, without the `/p2p/` part.
    pub multiaddrs: Vec<String>,
    /// Base URL of the node's HTTP listener, if others can use it.
    pub http_url: Option<String>,
    /// What the unit does.
    pub roles: Vec<Role>,
    /// Whether this node plays Arweave for a local network.
    #[serde(default)]
    pub dev_chain: bool,
    /// Grows with each announcement of one unit; the highest counts.
    pub sequence: u64,
    /// When it stops counting, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// Why an item is not an announcement that counts.
#[derive(Debug, Error)]
pub enum AnnouncementError {
    /// Not of this type at all.
    #[error("not an announcement: tag Type is {0:?}, expected \"Announcement\"")]
    OtherType(String),
    /// The data is too large or not the JSON expected.
    #[error("malformed announcement: {0}")]
    Malformed(String),
    /// Past its expiry.
    #[error("the announcement expired at {expires_ms}, it is {now_ms} now")]
    Expired {
        /// When it stopped counting.
        expires_ms: u64,
        /// When it was looked at.
        now_ms: u64,
    },
    /// Claims to count for longer than any may.
    #[error("the announcement claims to last until {expires_ms}, longer than {LIFETIME_MS} ms from {now_ms}")]
    TooLong {
        /// When it claims to stop counting.
        expires_ms: u64,
        /// When it was looked at.
        now_ms: u64,
    },
}

impl Announcement {
    /// Signs the announcement with the unit's wallet.
    pub fn sign(&self, signer: &dyn Signer) -> Result<VerifiedItem, ItemError> {
        let data = serde_json::to_vec(self).unwrap_or_else(|cause| unreachable!("plain data encodes: {cause}"));
        ItemBuilder::new()
            .tag("Data-Protocol", "ao")
            .tag("Variant", "ao.TN.1")
            .tag("Type", "Announcement")
            .tag("Content-Type", "application/json")
            .data(data)
            .sign(signer)
    }

    /// Reads an announcement and who made it from a verified item, as of `now_ms`.
    pub fn read(item: &VerifiedItem, now_ms: u64) -> Result<(Address, Announcement), AnnouncementError> {
        if item.tag("Type") != Some("Announcement") {
            return Err(AnnouncementError::OtherType(item.tag("Type").unwrap_or_default().to_string()));
        }
        if item.data().len() > MAX_ANNOUNCEMENT_BYTES {
            let text = format!("{} bytes of data, at most {MAX_ANNOUNCEMENT_BYTES} are read", item.data().len());
            return Err(AnnouncementError::Malformed(text));
        }
        let announcement: Announcement =
            serde_json::from_slice(item.data()).map_err(|cause| AnnouncementError::Malformed(cause.to_string()))?;
        if announcement.multiaddrs.len() > MAX_MULTIADDRS {
            let text = format!("{} multiaddrs, at most {MAX_MULTIADDRS} are read", announcement.multiaddrs.len());
            return Err(AnnouncementError::Malformed(text));
        }
        let expires_ms = announcement.expires_ms;
        if expires_ms <= now_ms {
            return Err(AnnouncementError::Expired { expires_ms, now_ms });
        }
        if expires_ms > now_ms.saturating_add(LIFETIME_MS + CLOCK_TOLERANCE_MS) {
            return Err(AnnouncementError::TooLong { expires_ms, now_ms });
        }
        Ok((item.address(), announcement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::Wallet;

    fn announcement(expires_ms: u64) -> Announcement {
        Announcement {
            peer_id: "12D3".into(),
            multiaddrs: vec!["/ip4/127.0.0.1/tcp/1".into()],
            http_url: None,
            roles: vec![Role::Su],
            dev_chain: false,
            sequence: 1,
            expires_ms,
        }
    }

    #[test]
    fn counts_only_until_it_expires_and_not_for_longer_than_allowed() {
        let wallet = Wallet::ed25519_from_seed([1; 32]);
        let item = announcement(LIFETIME_MS).sign(&wallet).unwrap();
        let (address, read) = Announcement::read(&item, 1).unwrap();
        assert_eq!((address, read), (wallet.address(), announcement(LIFETIME_MS)));
        assert!(matches!(Announcement::read(&item, LIFETIME_MS), Err(AnnouncementError::Expired { .. })));
        let long = announcement(LIFETIME_MS * 3).sign(&wallet).unwrap();
        assert!(matches!(Announcement::read(&long, 1), Err(AnnouncementError::TooLong { .. })));
    }

    #[test]
    fn another_item_is_not_an_announcement() {
        let item = ItemBuilder::new().tag("Type", "Message").sign(&Wallet::ed25519_from_seed([1; 32])).unwrap();
        assert!(matches!(Announcement::read(&item, 1), Err(AnnouncementError::OtherType(_))));
    }
}
