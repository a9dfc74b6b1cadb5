//! Rates: how many requests a client's address may make. The table has a fixed number of places, so that no number of
//! addresses fills the memory; addresses that share one, which chance decides anew at every start, share its rate.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::client;
use super::error::ApiError;

/// Requests a second that an address may make when nothing else is said.
const DEFAULT_RATE: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// How many seconds' worth of requests may come at once.
const BURST_SECONDS: u32 = 5;
/// Most addresses whose rates are kept apart.
pub(crate) const MAX_RATE_PLACES: u64 = 65_536;

/// How clients are told apart and what they may ask.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    /// Requests a second for every address, loopback too; 0: any number. None: a generous rate, and any number for
    /// loopback addresses.
    pub rate: Option<u32>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub proxies: Vec<IpAddr>,
}

/// The rates of all addresses. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Rates(Arc<Table>);

struct Table {
    limiter: Option<DefaultKeyedRateLimiter<u64>>,
    clock: DefaultClock,
    hasher: RandomState,
    free_loopback: bool,
    proxies: Vec<IpAddr>,
}

impl Rates {
    pub(super) fn new(clients: Clients) -> Rates {
        let rate = clients.rate.map_or(Some(DEFAULT_RATE), NonZeroU32::new);
        let quota = |rate: NonZeroU32| {
            Quota::per_second(rate).allow_burst(rate.saturating_mul(NonZeroU32::new(BURST_SECONDS).unwrap_or(rate)))
        };
        Rates(Arc::new(Table {
            limiter: rate.map(|rate| RateLimiter::keyed(quota(rate))),
            clock: DefaultClock::default(),
            hasher: RandomState::new(),
            free_loopback: clients.rate.is_none(),
            proxies: clients.proxies,
        }))
    }

    /// Whether an address is that of this machine's own users, which are not limited unless a rate was asked for. A
    /// proxy's is not: behind it may be anybody.
    pub(super) fn is_free(&self, address: IpAddr) -> bool {
        self.0.free_loopback && address.is_loopback() && !self.is_proxy(address)
    }

    /// Whether an address is that of a trusted proxy.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        self.0.proxies.contains(&address)
    }

    /// The client's address.
    pub(super) fn client(&self, request: &Request) -> Option<IpAddr> {
        client::address(request, &self.0.proxies)
    }

    /// Takes one request of an address; an error has the seconds until the next is allowed.
    fn take(&self, address: IpAddr) -> Result<(), u64> {
        let Some(limiter) = &self.0.limiter else { return Ok(()) };
        if self.is_free(address) {
            return Ok(());
        }
        limiter.check_key(&self.place(address)).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.0.clock.now());
            wait.as_secs() + 1
        })
    }

    fn place(&self, address: IpAddr) -> u64 {
        self.0.hasher.hash_one(client::network(address)) % MAX_RATE_PLACES
    }
}

/// Refuses what comes too fast.
pub(super) async fn limit(State(rates): State<Rates>, request: Request, next: Next) -> Result<Response, ApiError> {
    if let Some(address) = rates.client(&request) {
        rates.take(address).map_err(|seconds| ApiError::TooMany { address, seconds })?;
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(rates: &Rates, address: &str, tries: usize) -> usize {
        (0..tries).filter(|_| rates.take(address.parse().unwrap()).is_ok()).count()
    }

    #[test]
    fn every_address_has_its_own_rate() {
        let rates = Rates::new(Clients { rate: Some(1), proxies: Vec::new() });
        let burst = BURST_SECONDS as usize;
        assert_eq!(passed(&rates, "203.0.113.9", burst + 5), burst);
        assert_eq!(passed(&rates, "203.0.113.10", burst + 5), burst);
        assert_eq!(passed(&rates, "127.0.0.1", burst + 5), burst, "a rate that was asked for holds for everybody");
        assert_eq!(passed(&rates, "2001:db8::1", burst), burst);
        assert_eq!(passed(&rates, "2001:db8::2", 5), 0, "a network of IPv6 is one client");
        assert!(rates.take("203.0.113.9".parse().unwrap()).unwrap_err() > 0);
    }

    #[test]
    fn loopback_is_free_unless_a_rate_is_asked_for() {
        let rates = Rates::new(Clients::default());
        let burst = (DEFAULT_RATE.get() * BURST_SECONDS) as usize;
        assert_eq!(passed(&rates, "127.0.0.1", 2 * burst), 2 * burst);
        assert!(passed(&rates, "203.0.113.9", 2 * burst) < 2 * burst);
        let free = Rates::new(Clients { rate: Some(0), proxies: Vec::new() });
        assert_eq!(passed(&free, "203.0.113.9", 2 * burst), 2 * burst);
    }

    #[test]
    fn who_is_behind_a_proxy_of_this_machine_is_not_free() {
        let proxy: IpAddr = "127.0.0.1".parse().unwrap();
        let rates = Rates::new(Clients { rate: None, proxies: vec![proxy] });
        let burst = (DEFAULT_RATE.get() * BURST_SECONDS) as usize;
        assert!(passed(&rates, "127.0.0.1", 2 * burst) < 2 * burst, "it said nothing of whom it asks for");
        assert_eq!(passed(&rates, "127.0.0.2", 2 * burst), 2 * burst);
    }

    #[test]
    fn the_table_is_bounded() {
        let rates = Rates::new(Clients::default());
        let places: std::collections::BTreeSet<u64> =
            (0..100_000u32).map(|n| rates.place(IpAddr::V4(n.into()))).collect();
        assert!(places.iter().all(|place| *place < MAX_RATE_PLACES));
        assert!(places.len() > 30_000, "addresses are spread over the table");
    }
}
