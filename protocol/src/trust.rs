//! Whom a process trusts: the units that its own tags name, else those of the network file; in an open network every
//! unit that announced the role.

use std::sync::Arc;

use crate::announcement::Role;
use crate::id::Address;
use crate::network::Network;
use crate::process::Process;

/// Most messengers that are recorded in the first slot of a process which does not name its own.
pub const MAX_IMPLIED_MESSENGERS: usize = 16;

/// The network file, and who announced which role.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The network that this node lives by.
    pub network: Arc<Network>,
    /// Units that announced themselves, with their roles, in the order of their addresses.
    pub announced: Vec<(Address, Vec<Role>)>,
}

impl Trust {
    /// Units that announced a role.
    fn announced(&self, role: Role) -> impl Iterator<Item = Address> + '_ {
        self.announced.iter().filter(move |(_, roles)| roles.contains(&role)).map(|(address, _)| *address)
    }

    fn members(&self, listed: &[Address], role: Role) -> Vec<Address> {
        if self.network.open { self.announced(role).collect() } else { listed.to_vec() }
    }

    /// The messengers that may deliver what a process sends.
    pub fn messengers(&self, process: &Process) -> Vec<Address> {
        if process.authorities.is_empty() {
            return self.members(&self.network.messengers, Role::Mu);
        }
        let mut messengers = Vec::new();
        for text in &process.authorities {
            match self.network.aliases.get(text) {
                Some(named) => messengers.extend(named.iter().copied()),
                None => messengers.extend(text.parse::<Address>().ok()),
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        messengers.retain(|messenger| seen.insert(*messenger));
        messengers
    }

    /// The messengers that a process trusts though its own tags do not say their addresses: what its aliases stand
    /// for, or the network's. They are recorded in its first slot, so that its evaluation depends on the log alone.
    pub fn implied_messengers(&self, process: &Process) -> Vec<Address> {
        let mut implied = self.messengers(process);
        implied.retain(|address| !process.authorities.contains(&address.to_string()));
        implied.truncate(MAX_IMPLIED_MESSENGERS);
        implied
    }

    /// The compute units whose attestations a process trusts.
    pub fn compute_units(&self, process: &Process) -> Vec<Address> {
        match process.compute_authorities.is_empty() {
            true => {
                let mut seen = std::collections::BTreeSet::new();
                let mut units = self.members(&self.network.compute_units, Role::Cu);
                // Named twice, a unit is still one.
                units.retain(|unit| seen.insert(*unit));
                units
            }
            false => process.compute_authorities.clone(),
        }
    }

    /// The order in which messengers deliver a slot's outbox: the one that submitted the slot first, then the others
    /// that are trusted and announced, by a hash that differs from slot to slot. None when `who` is not among them.
    pub fn rank(&self, process: &Process, slot: u64, submitted_by: Option<Address>, who: &Address) -> Option<u32> {
        let trusted = self.messengers(process);
        if !trusted.contains(who) {
            return None;
        }
        if submitted_by.as_ref() == Some(who) {
            return Some(0);
        }
        let first = submitted_by.filter(|first| trusted.contains(first));
        let order = |address: &Address| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(process.id().as_ref()).update(&slot.to_le_bytes()).update(address.as_ref());
            *hasher.finalize().as_bytes()
        };
        let present = |address: &Address| address == who || self.announced(Role::Mu).any(|unit| unit == *address);
        let mut others: Vec<Address> =
            trusted.into_iter().filter(|address| Some(*address) != first && present(address)).collect();
        others.sort_by_key(order);
        others.dedup();
        let place = others.iter().position(|address| address == who)?;
        u32::try_from(place + usize::from(first.is_some())).ok()
    }
}

/// How long the messenger of a rank waits after an outcome is certain, in milliseconds.
pub fn rank_delay_ms(rank: u32) -> u64 {
    u64::from(rank) * 2000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::ItemBuilder;
    use crate::wallet::Wallet;

    fn address(n: u8) -> Address {
        Address::from([n; 32])
    }

    fn process(authority: &str) -> Process {
        let id = address(1).to_string();
        let item = ItemBuilder::new().tag("Type", "Process").tag("Module", &*id).tag("Scheduler", &*id);
        let item = item.tag("Authority", authority).sign(&Wallet::ed25519_from_seed([1; 32])).unwrap();
        Process::read(&item).unwrap()
    }

    fn trust(open: bool) -> Trust {
        let mut network = Network::open("test");
        network.open = open;
        network.messengers = vec![address(1), address(2), address(3)];
        network.aliases.insert("hard-coded".into(), vec![address(2), address(3)]);
        let announced = (1..=4).map(|n| (address(n), vec![Role::Mu])).collect();
        Trust { network: Arc::new(network), announced }
    }

    #[test]
    fn own_tags_come_before_the_network_and_aliases_resolve() {
        let listed = format!("hard-coded,{}", address(9));
        assert_eq!(trust(false).messengers(&process(&listed)), [address(2), address(3), address(9)]);
        assert_eq!(trust(false).implied_messengers(&process(&listed)), [address(2), address(3)]);
        assert_eq!(trust(false).implied_messengers(&process("")), [address(1), address(2), address(3)]);
        assert_eq!(trust(false).messengers(&process("")), [address(1), address(2), address(3)]);
        assert_eq!(trust(true).messengers(&process("")).len(), 4);
    }

    #[test]
    fn ranks_are_dense_and_the_submitter_is_first() {
        let (trust, process) = (trust(false), process(""));
        for slot in 0..20 {
            let rank = |n: u8| trust.rank(&process, slot, Some(address(2)), &address(n));
            let mut ranks = [rank(1), rank(2), rank(3)].map(|rank| rank.unwrap());
            assert_eq!(ranks[1], 0);
            ranks.sort();
            assert_eq!(ranks, [0, 1, 2]);
            assert_eq!(rank(4), None, "not trusted");
        }
        let orders: std::collections::BTreeSet<_> =
            (0..20).map(|slot| trust.rank(&process, slot, Some(address(2)), &address(1))).collect();
        assert_eq!(orders.len(), 2, "the order of the others changes from slot to slot");
    }

    #[test]
    fn a_submitter_that_is_not_trusted_does_not_hold_up_the_others() {
        let (trust, process) = (trust(false), process(""));
        let ranks: Vec<_> = (1..=3).map(|n| trust.rank(&process, 5, Some(address(8)), &address(n)).unwrap()).collect();
        assert!(ranks.contains(&0), "{ranks:?}");
    }
}
