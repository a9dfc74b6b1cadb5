//! Shares: how much of what is scarce one address may hold, so that nobody can hold all of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client::network;

/// What addresses hold, counted. Cloning is cheap. The table has as many entries as shares are held.
#[derive(Clone)]
pub(super) struct Shares(Arc<Table>);

struct Table {
    limit: usize,
    held: Mutex<HashMap<(bool, u64), usize>>,
}

/// One of an address's, until it is dropped.
pub(super) struct Share {
    table: Arc<Table>,
    of: (bool, u64),
}

impl Shares {
    /// At most so many for each address.
    pub(super) fn new(limit: usize) -> Shares {
        Shares(Arc::new(Table { limit, held: Mutex::new(HashMap::new()) }))
    }

    /// One more of an address; none: it holds as many as it may.
    pub(super) fn take(&self, address: IpAddr) -> Option<Share> {
        let of = network(address);
        let mut held = self.0.lock();
        let count = held.entry(of).or_insert(0);
        if *count >= self.0.limit {
            return None;
        }
        *count += 1;
        Some(Share { table: self.0.clone(), of })
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<(bool, u64), usize>> {
        // Nothing is half done while it is locked.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.table.lock();
        match held.get_mut(&self.of) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                held.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_its_share_and_no_more() {
        let (one, other) = ("203.0.113.9".parse().unwrap(), "203.0.113.10".parse().unwrap());
        let shares = Shares::new(2);
        let (first, _second) = (shares.take(one).unwrap(), shares.take(one).unwrap());
        assert!(shares.take(one).is_none());
        let third = shares.take(other);
        assert!(third.is_some());
        drop((first, third));
        assert!(shares.take(one).is_some());
        assert_eq!(shares.0.lock().len(), 1, "who holds nothing has no entry");
    }
}
