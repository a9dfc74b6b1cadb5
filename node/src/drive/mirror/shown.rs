//! What is shown of the mirror.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ao_protocol::id::{Address, Id};
use ao_protocol::log::LogError;
use ao_protocol::wallet::Signer;

use super::Settings;
use crate::arweave::Status;
use crate::drive::now_ms;
use crate::store::{Bundle, BundleState, Landed, Store};

/// A bundle on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownBundle {
    /// The transaction or item.
    pub id: Id,
    /// How many slots are in it, and of how many processes.
    pub slots: u64,
    /// See there.
    pub processes: usize,
    /// Bytes of its data.
    pub bytes: u64,
    /// How far it is.
    pub state: BundleState,
    /// Blocks from its own on, as the gateway says; none while it has none.
    pub confirmations: Option<u64>,
    /// What failed last.
    pub error: Option<String>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The gateway, or the bundler.
    pub url: String,
    /// Who pays.
    pub wallet: Address,
    /// Slots that are in no bundle yet.
    pub waiting_slots: u64,
    /// Of how many processes.
    pub waiting_processes: usize,
    /// What is on its way, in order.
    pub bundles: Vec<ShownBundle>,
    /// The last one that landed, with the sums of all.
    pub landed: Option<Landed>,
    /// What failed last, and when, in milliseconds since 1970.
    pub error: Option<(String, u64)>,
}

#[derive(Default)]
struct State {
    waiting: (u64, usize),
    bundles: BTreeMap<u64, ShownBundle>,
    error: Option<(String, u64)>,
}

/// Where the mirror writes what is shown. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Showing {
    url: String,
    wallet: Address,
    state: Arc<Mutex<State>>,
}

impl Showing {
    pub(super) fn new(settings: &Settings) -> Showing {
        let url = settings.bundler.as_ref().unwrap_or(&settings.gateway).url().to_string();
        Showing { url, wallet: settings.wallet.address(), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shown(&self, log: &Store) -> Result<Shown, LogError> {
        let landed = log.last_landed()?;
        let state = self.state();
        Ok(Shown {
            url: self.url.clone(),
            wallet: self.wallet,
            waiting_slots: state.waiting.0,
            waiting_processes: state.waiting.1,
            bundles: state.bundles.values().cloned().collect(),
            landed,
            error: state.error.clone(),
        })
    }

    pub(super) fn behind(&self, slots: u64, processes: usize) {
        self.state().waiting = (slots, processes);
    }

    pub(super) fn failed(&self, cause: &str) {
        self.state().error = Some((cause.to_string(), now_ms()));
    }

    pub(super) fn forget_bundles(&self) {
        self.state().bundles.clear();
    }

    /// How far a bundle is.
    pub(super) fn bundle(&self, bundle: &Bundle) {
        let mut state = self.state();
        let shown = state.bundles.entry(bundle.number).or_insert_with(|| ShownBundle {
            id: bundle.carrier.id(),
            slots: bundle.slots(),
            processes: bundle.ranges.len(),
            bytes: bundle.carrier.data_size(),
            state: bundle.state,
            confirmations: None,
            error: None,
        });
        (shown.id, shown.state) = (bundle.carrier.id(), bundle.state);
    }

    /// Its last step did not fail.
    pub(super) fn went_well(&self, bundle: &Bundle) {
        if let Some(shown) = self.state().bundles.get_mut(&bundle.number) {
            shown.error = None;
        }
    }

    pub(super) fn bundle_failed(&self, bundle: &Bundle, cause: &str) {
        self.failed(cause);
        if let Some(shown) = self.state().bundles.get_mut(&bundle.number) {
            shown.error = Some(cause.to_string());
        }
    }

    /// What the gateway says of it.
    pub(super) fn confirmed(&self, bundle: &Bundle, status: Status) {
        if let Some(shown) = self.state().bundles.get_mut(&bundle.number) {
            shown.confirmations = match status {
                Status::Mined { confirmations, .. } => Some(confirmations),
                Status::Unknown | Status::Pending => None,
            };
        }
    }

    pub(super) fn landed(&self, bundle: &Bundle) {
        self.state().bundles.remove(&bundle.number);
    }
}
