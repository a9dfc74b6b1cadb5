//! The way of each bundle: posted, watched, posted again if it is lost, read back. A bundle is signed once; anew only
//! when the one before can't be mined any more.

use std::sync::Arc;
use std::time::Duration;

use ao_protocol::backoff::Backoff;
use ao_protocol::log::LogError;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::shown::Showing;
use super::{FIRST_RETRY_MS, Failure, LAST_RETRY_MS, Settings};
use crate::arweave::{GatewayError, Status};
use crate::drive::World;
use crate::store::{Bundle, BundleState};

/// Most bundles that the gateway is asked about at once.
const AT_ONCE: usize = 4;
/// A transaction can be mined within so many blocks after its anchor; with some more for gateways that lag.
const ANCHOR_BLOCKS: u64 = 50 + 10;
/// A gateway may not know of a transaction at once: after so many looks in vain it is posted again.
const LOOKS_IN_VAIN: u32 = 5;

/// All bundles on their way.
pub(super) struct Posting {
    shared: Arc<Shared>,
    tasks: JoinSet<Result<(), LogError>>,
}

struct Shared {
    world: World,
    settings: Arc<Settings>,
    showing: Showing,
    turns: Semaphore,
    /// Held by who writes that one landed: the sums of all go on from the last.
    landing: Mutex<()>,
}

/// What came of a look.
enum Step {
    /// Something was done: look again soon.
    Forward,
    /// There is nothing to do yet.
    Wait,
    /// It is there for good.
    Landed,
}

impl Posting {
    /// Goes on with what is on its way.
    pub(super) fn begin(world: World, settings: Arc<Settings>, showing: Showing) -> Result<Posting, LogError> {
        let bundles = world.log().bundles()?;
        showing.forget_bundles();
        let shared =
            Arc::new(Shared { world, settings, showing, turns: Semaphore::new(AT_ONCE), landing: Mutex::default() });
        let mut posting = Posting { shared, tasks: JoinSet::new() };
        bundles.into_iter().for_each(|bundle| posting.start(bundle));
        Ok(posting)
    }

    fn start(&mut self, bundle: Bundle) {
        self.shared.showing.bundle(&bundle);
        self.tasks.spawn(self.shared.clone().bring(bundle));
    }

    /// Begins with a new one.
    pub(super) fn add(&mut self, number: u64) -> Result<(), LogError> {
        let new = self.shared.world.log().bundles()?.into_iter().find(|bundle| bundle.number == number);
        new.into_iter().for_each(|bundle| self.start(bundle));
        Ok(())
    }

    /// Sees whether the log failed one of them.
    pub(super) fn go_on(&mut self) -> Result<(), LogError> {
        while let Some(done) = self.tasks.try_join_next() {
            // It can't be joined when the node is stopping.
            done.unwrap_or(Ok(()))?;
        }
        Ok(())
    }

    /// How many there are.
    pub(super) fn open(&self) -> usize {
        self.tasks.len()
    }
}

impl Shared {
    async fn bring(self: Arc<Self>, mut bundle: Bundle) -> Result<(), LogError> {
        let mut backoff = Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS);
        let mut in_vain = 0;
        loop {
            let turn = self.turns.acquire().await;
            let step = match bundle.state {
                BundleState::Signed => self.post(&mut bundle).await,
                BundleState::Posted => self.watch(&mut bundle, &mut in_vain).await,
            };
            drop(turn);
            match step {
                Ok(Step::Landed) => {
                    self.showing.landed(&bundle);
                    return Ok(());
                }
                Ok(Step::Forward) => backoff.reset(),
                Ok(Step::Wait) => {}
                Err(Failure::Log(cause)) => return Err(cause),
                Err(Failure::Gateway(cause)) => {
                    warn!(bundle = bundle.number, transaction = %bundle.transaction.id, %cause, "it is tried again");
                    self.showing.bundle_failed(&bundle, &cause.to_string());
                }
            }
            self.showing.bundle(&bundle);
            tokio::time::sleep(Duration::from_millis(backoff.next_ms())).await;
        }
    }

    async fn data(&self, bundle: &Bundle) -> Result<Vec<u8>, Failure> {
        let (world, number) = (self.world.clone(), bundle.number);
        let read = tokio::task::spawn_blocking(move || world.log().bundle_data(number)).await;
        let damaged =
            || LogError::Damaged { record: "bundle", key: number.to_string(), cause: "its data is missing".into() };
        // It can't be joined when the node is stopping.
        Ok(read.unwrap_or(Ok(None))?.ok_or_else(damaged)?)
    }

    async fn keep(&self, bundle: &Bundle) -> Result<(), Failure> {
        let (world, bundle) = (self.world.clone(), bundle.clone());
        let kept = tokio::task::spawn_blocking(move || world.log().update_bundle(&bundle)).await;
        Ok(kept.unwrap_or(Ok(()))?)
    }

    async fn post(&self, bundle: &mut Bundle) -> Result<Step, Failure> {
        let gateway = &self.settings.gateway;
        let data = self.data(bundle).await?;
        if let Err(cause) = gateway.post(&bundle.transaction).await {
            let refused = matches!(cause, GatewayError::Refused { .. });
            // Some refuse what they have; and what was refused for its age can be signed anew.
            if !refused || gateway.status(&bundle.transaction.id).await? == Status::Unknown {
                return if refused && self.sign_anew(bundle, data).await? {
                    Ok(Step::Forward)
                } else {
                    Err(cause.into())
                };
            }
        }
        gateway.post_data(&bundle.transaction, &data).await?;
        debug!(bundle = bundle.number, transaction = %bundle.transaction.id, "a bundle is posted");
        bundle.state = BundleState::Posted;
        self.keep(bundle).await?;
        Ok(Step::Forward)
    }

    async fn watch(&self, bundle: &mut Bundle, in_vain: &mut u32) -> Result<Step, Failure> {
        let status = self.settings.gateway.status(&bundle.transaction.id).await?;
        self.showing.confirmed(bundle, status);
        if status != Status::Unknown {
            *in_vain = 0;
        }
        match status {
            Status::Mined { height, confirmations } if confirmations >= self.settings.confirmations => {
                self.read_back(bundle, height).await
            }
            Status::Mined { .. } | Status::Pending => Ok(Step::Wait),
            Status::Unknown => {
                *in_vain += 1;
                if *in_vain < LOOKS_IN_VAIN {
                    return Ok(Step::Wait);
                }
                *in_vain = 0;
                info!(bundle = bundle.number, transaction = %bundle.transaction.id, "the gateway lost it");
                let data = self.data(bundle).await?;
                if !self.sign_anew(bundle, data).await? {
                    bundle.state = BundleState::Signed;
                    self.keep(bundle).await?;
                }
                Ok(Step::Wait)
            }
        }
    }

    /// Whether the gateway gives the data that was posted is the only word of it that counts.
    async fn read_back(&self, bundle: &mut Bundle, height: u64) -> Result<Step, Failure> {
        let data = self.data(bundle).await?;
        let id = bundle.transaction.id;
        let wrong = match self.settings.gateway.data(&id, data.len()).await {
            Ok(read) if read == data => {
                let _alone = self.landing.lock().await;
                let (world, landed) = (self.world.clone(), bundle.clone());
                let kept = tokio::task::spawn_blocking(move || world.log().landed(&landed, height)).await;
                kept.unwrap_or(Ok(()))?;
                info!(bundle = bundle.number, transaction = %id, height, "a bundle is on Arweave");
                return Ok(Step::Landed);
            }
            Ok(read) => format!("other data than was posted: {} bytes, not {}", read.len(), data.len()),
            Err(cause) => cause.to_string(),
        };
        // Its pieces may not have come through.
        bundle.state = BundleState::Signed;
        self.keep(bundle).await?;
        let url = self.settings.gateway.url().to_string();
        let cause = format!("it says that transaction {id} is in block {height}, and does not give it back: {wrong}");
        Err(GatewayError::Garbage { url, what: "data", cause }.into())
    }

    /// Signs a transaction anew, if the one before can't be mined any more; says whether it did.
    async fn sign_anew(&self, bundle: &mut Bundle, data: Vec<u8>) -> Result<bool, Failure> {
        let height = self.settings.gateway.height().await?;
        // A lower height is that of another chain.
        if (bundle.signed_at..=bundle.signed_at + ANCHOR_BLOCKS).contains(&height) {
            return Ok(false);
        }
        let terms = self.settings.gateway.terms(data.len()).await?;
        let (settings, tags) = (self.settings.clone(), bundle.transaction.tags.clone());
        bundle.signed_at = terms.height;
        let signed = tokio::task::spawn_blocking(move || settings.sign(&data, tags, terms)).await;
        let stopping = |_| Failure::Log(LogError::Database("the node is stopping".into()));
        bundle.transaction = signed.map_err(stopping)??;
        bundle.state = BundleState::Signed;
        self.keep(bundle).await?;
        info!(bundle = bundle.number, transaction = %bundle.transaction.id, "signed anew: the one before is too old");
        Ok(true)
    }
}
