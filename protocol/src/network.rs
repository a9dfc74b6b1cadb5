//! The network file: which schedulers, messengers and compute units a network lives by. Its hash is part of the
//! handshake, so that nodes of different networks don't mix.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Address, Digest};

/// Largest network file in bytes.
pub const MAX_NETWORK_BYTES: usize = 256 * 1024;
/// Most members of one kind.
pub const MAX_MEMBERS: usize = 1000;

/// The units that processes trust unless their own tags say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// A name for people.
    pub name: String,
    /// When true every announced unit counts: for development only.
    #[serde(default)]
    pub open: bool,
    /// Units that may be named as scheduler.
    #[serde(default)]
    pub schedulers: Vec<Address>,
    /// Units that deliver outboxes.
    #[serde(default)]
    pub messengers: Vec<Address>,
    /// Units whose attestations count.
    #[serde(default)]
    pub compute_units: Vec<Address>,
    /// The unit that plays Arweave for the network, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev_chain: Option<Address>,
    /// What addresses that existing clients hard-code stand for: each names some of the messengers.
    #[serde(default)]
    pub aliases: BTreeMap<String, Vec<Address>>,
}

/// Why a text is not a network file.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// Too large to be one.
    #[error("the network file has {0} bytes; at most {MAX_NETWORK_BYTES} are read")]
    Oversize(usize),
    /// Not the JSON that is expected.
    #[error("not a network file: {0}; expected JSON with name, schedulers, messengers, compute_units, aliases")]
    Malformed(#[from] serde_json::Error),
    /// A list is too long.
    #[error("the network file names {0} {1}; at most {MAX_MEMBERS} are allowed")]
    TooMany(usize, &'static str),
}

impl Network {
    /// An open network for development: every announced unit counts.
    pub fn open(name: &str) -> Network {
        Network {
            name: name.to_string(),
            open: true,
            schedulers: Vec::new(),
            messengers: Vec::new(),
            compute_units: Vec::new(),
            dev_chain: None,
            aliases: BTreeMap::new(),
        }
    }

    /// Reads a network file.
    pub fn from_json(text: &str) -> Result<Network, NetworkError> {
        if text.len() > MAX_NETWORK_BYTES {
            return Err(NetworkError::Oversize(text.len()));
        }
        let network: Network = serde_json::from_str(text)?;
        let lists = [
            (&network.schedulers, "schedulers"),
            (&network.messengers, "messengers"),
            (&network.compute_units, "compute units"),
        ];
        for (members, kind) in lists {
            if members.len() > MAX_MEMBERS {
                return Err(NetworkError::TooMany(members.len(), kind));
            }
        }
        Ok(network)
    }

    /// The file's text: the same for equal networks.
    pub fn to_json(&self) -> String {
        match serde_json::to_string_pretty(self) {
            Ok(text) => text,
            Err(cause) => unreachable!("plain data encodes: {cause}"),
        }
    }

    /// The hash that nodes compare: blake3 of [`Network::to_json`].
    pub fn hash(&self) -> Digest {
        Digest::from(*blake3::hash(self.to_json().as_bytes()).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_hashes_the_content() {
        let mut network = Network::open("dev");
        network.messengers.push(Address::from([7; 32]));
        let again = Network::from_json(&network.to_json()).unwrap();
        assert_eq!(again, network);
        assert_eq!(again.hash(), network.hash());
        network.open = false;
        assert_ne!(again.hash(), network.hash());
    }

    #[test]
    fn a_misspelled_field_is_an_error_not_an_empty_list() {
        let cause = Network::from_json(r#"{"name":"x","schedulres":[]}"#).unwrap_err();
        assert!(cause.to_string().contains("schedulres"), "{cause}");
    }
}
