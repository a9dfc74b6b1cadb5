//! The way of each bundle: posted, watched, posted again if it is lost, read back. A bundle is signed once; anew only
//! when the one before can't be mined any more.

use std::sync::Arc;
use std::time::Duration;

use ao_protocol::backoff::Backoff;
use ao_protocol::log::LogError;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::shown::Showing;
use super::{FIRST_RETRY_MS, Failure, LAST_RETRY_MS, Settings};
use crate::arweave::{Carrier, GatewayError, Status};
use crate::drive::World;
use crate::store::{Bundle, BundleState};

/// Most bundles that the gateway is asked about at once.
const AT_ONCE: usize = 4;
/// A transaction can be mined within so many blocks after its anchor; with some more for gateways that lag.
const ANCHOR_BLOCKS: u64 = 50 + 10;
/// A gateway may not know of a transaction at once: after so many looks in vain it is posted again.
const LOOKS_IN_VAIN: u32 = 5;
/// A gateway has to know nothing of a transaction for so long before another one is signed in its place.
const LOST_TIME: Duration = Duration::from_secs(10 * 60);

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
    /// It was signed, or signed anew, or taken for the first time: look again soon.
    Forward,
    /// There is nothing to do yet.
    Wait,
    /// It is there for good.
    Landed,
}

/// What is known of a bundle between two looks.
struct Way {
    bundle: Bundle,
    /// The next piece of its data to be posted.
    next_piece: usize,
    /// Looks since the gateway knew of it last, and since when.
    in_vain: u32,
    unknown: Option<Instant>,
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
    async fn bring(self: Arc<Self>, bundle: Bundle) -> Result<(), LogError> {
        let mut backoff = Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS);
        let mut way = Way { bundle, next_piece: 0, in_vain: 0, unknown: None };
        loop {
            let turn = self.turns.acquire().await;
            let step = match way.bundle.state {
                BundleState::Signed => self.post(&mut way).await,
                BundleState::Posted => self.watch(&mut way).await,
            };
            drop(turn);
            let bundle = &way.bundle;
            match step {
                Ok(Step::Landed) => {
                    self.showing.landed(bundle);
                    return Ok(());
                }
                Ok(Step::Forward) => {
                    backoff.reset();
                    self.showing.went_well(bundle);
                }
                Ok(Step::Wait) => self.showing.went_well(bundle),
                Err(Failure::Log(cause)) => return Err(cause),
                Err(Failure::Gateway(cause)) => {
                    warn!(bundle = bundle.number, carrier = %bundle.carrier.id(), %cause, "it is tried again");
                    self.showing.bundle_failed(bundle, &cause.to_string());
                }
            }
            self.showing.bundle(bundle);
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

    async fn post(&self, way: &mut Way) -> Result<Step, Failure> {
        let gateway = &self.settings.gateway;
        let id = way.bundle.carrier.id();
        if let Carrier::Transaction(transaction) = way.bundle.carrier.clone() {
            if let Err(cause) = gateway.post(&transaction).await {
                let refused = matches!(cause, GatewayError::Refused { .. });
                // Some refuse what they have; and what was refused for its age can be signed anew.
                if !refused || gateway.status(&id).await? == Status::Unknown {
                    return match refused && self.sign_anew(way).await? {
                        true => Ok(Step::Forward),
                        false => Err(cause.into()),
                    };
                }
            }
            let data = self.data(&way.bundle).await?;
            gateway.post_data(&transaction, &data, &mut way.next_piece).await?;
        } else if self.settings.bundler.is_none() {
            // There was a bundler when it was made.
            self.sign_again(way).await?;
            return Ok(Step::Forward);
        } else {
            self.post_item(way).await?;
        }
        debug!(bundle = way.bundle.number, carrier = %id, "a bundle is posted");
        way.bundle.state = BundleState::Posted;
        self.keep(&way.bundle).await?;
        Ok(Step::Forward)
    }

    /// Sends an item to the bundler. It costs nothing to do so again.
    async fn post_item(&self, way: &Way) -> Result<(), Failure> {
        let Carrier::Item { id, head, .. } = &way.bundle.carrier else { return Ok(()) };
        let bytes = [&head[..], &self.data(&way.bundle).await?].concat();
        let bundler = self.settings.bundler.as_ref().unwrap_or(&self.settings.gateway);
        Ok(bundler.post_item(id, bytes).await?)
    }

    /// All of it is posted again: something of it did not come through.
    async fn post_again(&self, way: &mut Way) -> Result<(), Failure> {
        way.next_piece = 0;
        let Carrier::Transaction(transaction) = &way.bundle.carrier else { return self.post_item(way).await };
        self.settings.gateway.post(transaction).await.or_else(|cause| match cause {
            // It may have it.
            GatewayError::Refused { .. } => Ok(()),
            cause => Err(cause),
        })?;
        let data = self.data(&way.bundle).await?;
        self.settings.gateway.post_data(transaction, &data, &mut way.next_piece).await?;
        Ok(())
    }

    async fn watch(&self, way: &mut Way) -> Result<Step, Failure> {
        let (gateway, id) = (&self.settings.gateway, way.bundle.carrier.id());
        let is_item = matches!(way.bundle.carrier, Carrier::Item { .. });
        let status = if is_item { gateway.item_status(&id).await? } else { gateway.status(&id).await? };
        self.showing.confirmed(&way.bundle, status);
        if status != Status::Unknown {
            (way.in_vain, way.unknown) = (0, None);
        }
        match status {
            Status::Mined { height, confirmations } if confirmations >= self.settings.confirmations => {
                // What it says of its blocks has to fit what it says of this one.
                let newest = self.settings.gateway.height().await?;
                let fits = (way.bundle.signed_at..=newest).contains(&height)
                    && newest.saturating_sub(height).saturating_add(1) >= self.settings.confirmations;
                if !fits {
                    let url = self.settings.gateway.url().to_string();
                    let cause = format!(
                        "{confirmations} confirmations in block {height}, but it was signed at {} and the newest is \
                         {newest}",
                        way.bundle.signed_at
                    );
                    return Err(GatewayError::Garbage { url, what: "status that can be true", cause }.into());
                }
                self.read_back(way, height).await
            }
            Status::Mined { .. } | Status::Pending => Ok(Step::Wait),
            Status::Unknown => {
                let unknown = way.unknown.get_or_insert_with(Instant::now).elapsed();
                way.in_vain += 1;
                // Bundlers take their time.
                if !way.in_vain.is_multiple_of(LOOKS_IN_VAIN) || (is_item && unknown < LOST_TIME) {
                    return Ok(Step::Wait);
                }
                info!(bundle = way.bundle.number, carrier = %id, "the gateway does not know of it");
                if is_item {
                    way.unknown = None;
                }
                if unknown < LOST_TIME || !self.sign_anew(way).await? {
                    self.post_again(way).await?;
                }
                Ok(Step::Wait)
            }
        }
    }

    /// Whether the gateway gives the data that was posted is the only word of it that counts.
    async fn read_back(&self, way: &mut Way, height: u64) -> Result<Step, Failure> {
        let data = self.data(&way.bundle).await?;
        let id = way.bundle.carrier.id();
        let wrong = match self.settings.gateway.data(&id, data.len()).await {
            Ok(read) if read == data => {
                let _alone = self.landing.lock().await;
                let (world, landed) = (self.world.clone(), way.bundle.clone());
                let kept = tokio::task::spawn_blocking(move || world.log().landed(&landed, height)).await;
                kept.unwrap_or(Ok(()))?;
                info!(bundle = way.bundle.number, carrier = %id, height, "a bundle is on Arweave");
                return Ok(Step::Landed);
            }
            Err(cause) if cause.passes() => return Err(cause.into()),
            Ok(read) => format!("other data than was posted: {} bytes, not {}", read.len(), data.len()),
            Err(cause) => cause.to_string(),
        };
        // Its pieces may not have come through.
        self.post_again(way).await?;
        let url = self.settings.gateway.url().to_string();
        let cause = format!("it says that {id} is in block {height}, and does not give it back: {wrong}");
        Err(GatewayError::Garbage { url, what: "data", cause }.into())
    }

    /// Signs a transaction anew, if the one before can't be mined any more; says whether it did.
    async fn sign_anew(&self, way: &mut Way) -> Result<bool, Failure> {
        if matches!(way.bundle.carrier, Carrier::Item { .. }) {
            return Ok(false);
        }
        let height = self.settings.gateway.height().await?;
        let signed_at = way.bundle.signed_at;
        // A height that is much lower is that of another chain.
        let too_old = height > signed_at.saturating_add(ANCHOR_BLOCKS);
        if !too_old && height.saturating_add(ANCHOR_BLOCKS) >= signed_at {
            return Ok(false);
        }
        self.sign_again(way).await?;
        Ok(true)
    }

    /// Signs what carries a bundle once more, as the settings have it now.
    async fn sign_again(&self, way: &mut Way) -> Result<(), Failure> {
        let data = self.data(&way.bundle).await?;
        let terms = self.settings.terms(data.len()).await?;
        let (settings, tags) = (self.settings.clone(), way.bundle.carrier.tags());
        let mut bundle = Bundle { signed_at: terms.height, state: BundleState::Signed, ..way.bundle.clone() };
        let signed = tokio::task::spawn_blocking(move || settings.sign(&data, tags, terms)).await;
        let stopping = |_| Failure::Log(LogError::Database("the node is stopping".into()));
        bundle.carrier = signed.map_err(stopping)??;
        self.keep(&bundle).await?;
        info!(bundle = bundle.number, carrier = %bundle.carrier.id(), "signed anew: the one before can't come any more");
        *way = Way { bundle, next_piece: 0, in_vain: 0, unknown: None };
        Ok(())
    }
}
