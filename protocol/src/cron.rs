//! Cron: messages that a process gets by the clock or by Arweave's height. A firing is a slot like any other, an
//! assignment without item that its scheduler appends when it is due, so that replay needs no clock.
//!
//! Tags of a process, in order: `Cron-Interval: 10-seconds` starts a cron, `Cron-Tag-X: v` after it gives its message
//! the tag `X: v`.

use thiserror::Error;

use crate::assignment::{Assignment, Statement};
use crate::entry::Entry;
use crate::evidence;
use crate::id::Id;
use crate::item::VerifiedItem;
use crate::log::{Batch, Log, LogError, Write};
use crate::message::Message;
use crate::scheduler::Moment;
use crate::tag::Tag;
use crate::wallet::Signer;

/// Most crons of one process.
pub const MAX_CRONS: usize = 16;
/// Most firings of one cron that are made up for at once; earlier missed ones are only counted.
pub const MAX_CAUGHT_UP: u64 = 100;

const INTERVAL: &str = "Cron-Interval";
const TAG: &str = "Cron-Tag-";

/// One cron of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// `<index>-<interval>`, the index counted among those of its kind, as in ao: `0-10-seconds`.
    pub id: String,
    /// When it fires.
    pub every: Every,
    /// Tags of its messages.
    pub tags: Vec<Tag>,
}

/// The time between two firings. Both count from slot 0 of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Every {
    /// Blocks of Arweave; at least 1.
    Blocks(u64),
    /// Seconds; at least 1.
    Seconds(u64),
}

/// What an assignment says of the firing that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// Which cron of the process.
    pub cron: String,
    /// The second, or the block's time, for which it fires, in milliseconds since 1970.
    pub time_ms: u64,
    /// The block for which it fires, of one that counts blocks.
    pub block: Option<u64>,
    /// Firings of this cron before it that were missed for good.
    pub missed: u64,
}

impl Firing {
    /// Where it is in the row of this cron's firings: the block's height, or the second.
    pub fn at(&self) -> u64 {
        self.block.unwrap_or(self.time_ms / 1000)
    }
}

/// A cron tag that can't be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CronError {
    /// A tag for the message before any interval.
    #[error("tag {0} comes before any Cron-Interval")]
    TagFirst(String),
    /// An interval that can't be read.
    #[error(
        "Cron-Interval is {0:?}; expected a number and blocks, seconds, minutes, hours, days, weeks or years, \
         such as 10-seconds"
    )]
    Interval(String),
    /// Too many.
    #[error("more than {MAX_CRONS} crons in one process")]
    TooMany,
}

/// The crons that a spawn item asks for, in the order in which they fire when they are due at the same time: those
/// that count blocks as they stand, then those that count seconds, the shortest first.
pub fn crons(spawn: &VerifiedItem) -> Result<Vec<Cron>, CronError> {
    let mut crons: Vec<Cron> = Vec::new();
    for tag in spawn.tags() {
        if tag.name == INTERVAL {
            crons.push(Cron { id: tag.value.clone(), every: interval(&tag.value)?, tags: Vec::new() });
        } else if let Some(name) = tag.name.strip_prefix(TAG) {
            let cron = crons.last_mut().ok_or_else(|| CronError::TagFirst(tag.name.clone()))?;
            cron.tags.push(Tag { name: name.to_string(), value: tag.value.clone() });
        }
    }
    if crons.len() > MAX_CRONS {
        return Err(CronError::TooMany);
    }
    let blocks = |cron: &Cron| matches!(cron.every, Every::Blocks(_));
    let (by_block, mut by_time): (Vec<Cron>, Vec<Cron>) = crons.into_iter().partition(blocks);
    by_time.sort_by_key(|cron| cron.every);
    let numbered = |(index, cron): (usize, Cron)| Cron { id: format!("{index}-{}", cron.id), ..cron };
    let by_block = by_block.into_iter().enumerate().map(numbered);
    Ok(by_block.chain(by_time.into_iter().enumerate().map(numbered)).collect())
}

fn interval(text: &str) -> Result<Every, CronError> {
    let wrong = || CronError::Interval(text.chars().take(64).collect());
    let (count, unit) = text.split_once('-').ok_or_else(wrong)?;
    let count: u64 = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?;
    let unit = unit.trim();
    let seconds = match unit.strip_suffix('s').unwrap_or(unit) {
        "block" => return Ok(Every::Blocks(count)),
        "second" => 1,
        "minute" => 60,
        "hour" => 60 * 60,
        "day" => 24 * 60 * 60,
        "week" => 7 * 24 * 60 * 60,
        // Of 365.25 days, as the reference's library has it.
        "year" => 31_557_600,
        _ => return Err(wrong()),
    };
    count.checked_mul(seconds).map(Every::Seconds).ok_or_else(wrong)
}

/// When a cron fires next: the second, or the height, after `last` or after slot 0.
pub fn next_at(cron: &Cron, first: &Statement, last: Option<u64>) -> u64 {
    let (origin, every) = row(cron, first);
    let fired = last.unwrap_or(origin).saturating_sub(origin) / every;
    origin.saturating_add((fired + 1).saturating_mul(every))
}

/// Where a cron's row of firings begins, and the distance between two.
fn row(cron: &Cron, first: &Statement) -> (u64, u64) {
    match cron.every {
        Every::Blocks(count) => (first.block_height, count),
        Every::Seconds(count) => (first.timestamp_ms / 1000, count),
    }
}

/// Appends all firings of a process that are due: each once, in the order of their times. `block_time` gives the time
/// of a block in seconds; a block that is not known does not fire. Adds the entries to `batch`, which is committed
/// synced before anybody hears of them.
pub fn fire(
    log: &dyn Log,
    batch: &mut Batch,
    id: &Id,
    moment: Moment,
    block_time: &dyn Fn(u64) -> Option<u64>,
    signer: &dyn Signer,
) -> Result<Vec<Entry>, LogError> {
    let (Some(first), Some(Ok(process))) = (batch.entry(log, id, 0)?, batch.process(log, id)?) else {
        return Ok(Vec::new());
    };
    if process.scheduler() != signer.address() || evidence::disputed_from(log, id)?.is_some() || log.hole(id)?.is_some()
    {
        return Ok(Vec::new());
    }
    let mut firings = Vec::new();
    for cron in &process.crons {
        let last = batch.fired(log, id, &cron.id)?;
        firings.extend(due(cron, &first.assignment.statement, last, moment, block_time));
    }
    // Stable: at the same time the order is that of the crons.
    firings.sort_by_key(|firing| firing.time_ms);
    let mut entries = Vec::with_capacity(firings.len());
    for firing in firings {
        let Some(tip) = batch.tip(log, id)? else { break };
        let statement = Statement {
            process: *id,
            epoch: process.epoch_at(tip.slot + 1),
            slot: tip.slot + 1,
            hash_chain: tip.next_link,
            block_height: firing.block.unwrap_or(moment.block_height),
            timestamp_ms: tip.timestamp_ms.max(moment.now_ms),
            message: None,
            messenger: None,
            depth: 0,
            root: None,
            origin: None,
            sent_by: None,
            assign: None,
            certificate: None,
            authorities: Vec::new(),
            cron: Some(firing),
        };
        // Signing fails when the machine has no more randomness: the firing is still due next time.
        let Ok(assignment) = statement.sign(signer) else { break };
        let entry = Entry::of_firing(assignment);
        batch.push(Write::Entry(Box::new(entry.clone())));
        entries.push(entry);
    }
    Ok(entries)
}

/// The firings of one cron that are due, the oldest first, at most [`MAX_CAUGHT_UP`].
fn due(
    cron: &Cron,
    first: &Statement,
    last: Option<u64>,
    moment: Moment,
    block_time: &dyn Fn(u64) -> Option<u64>,
) -> Vec<Firing> {
    let (_, every) = row(cron, first);
    let now = match cron.every {
        Every::Blocks(_) => moment.block_height,
        Every::Seconds(_) => moment.now_ms / 1000,
    };
    let next = next_at(cron, first, last);
    let count = if next > now { 0 } else { (now - next) / every + 1 };
    let mut missed = count.saturating_sub(MAX_CAUGHT_UP);
    let start = next.saturating_add(missed.saturating_mul(every));
    let mut firings = Vec::new();
    for at in (0..count.min(MAX_CAUGHT_UP)).map(|place| start.saturating_add(place.saturating_mul(every))) {
        let (time_s, block) = match cron.every {
            Every::Seconds(_) => (Some(at), None),
            Every::Blocks(_) => (block_time(at), Some(at)),
        };
        match time_s {
            Some(time_s) => {
                let time_ms = time_s.saturating_mul(1000);
                firings.push(Firing { cron: cron.id.clone(), time_ms, block, missed });
                missed = 0;
            }
            None => missed += 1,
        }
    }
    firings
}

/// The message that a firing is to its process: its owner's, with the tags of the cron and nothing else.
pub fn message(spawn: &VerifiedItem, assignment: &Assignment, firing: &Firing) -> Message {
    let owner = spawn.signer_text();
    let tags = crons(spawn).unwrap_or_default().into_iter().find(|cron| cron.id == firing.cron).map(|cron| cron.tags);
    Message {
        from: owner.clone(),
        owner,
        target: assignment.statement.process.to_string(),
        tags: tags.unwrap_or_default(),
        timestamp: firing.time_ms,
        block_height: assignment.statement.block_height,
        cron: true,
        ..Message::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::item::ItemBuilder;
    use crate::log::{Durability, MemoryLog};
    use crate::network::Network;
    use crate::scheduler::{Submission, assign};
    use crate::trust::Trust;
    use crate::wallet::Wallet;

    fn unit() -> Wallet {
        Wallet::ed25519_from_seed([1; 32])
    }

    fn spawn(tags: &[(&str, &str)]) -> VerifiedItem {
        let mut item = ItemBuilder::new()
            .tag("Data-Protocol", "ao")
            .tag("Type", "Process")
            .tag("Module", Id::from([9; 32]).to_string())
            .tag("Scheduler", unit().address().to_string());
        for (name, value) in tags {
            item = item.tag(*name, *value);
        }
        item.sign(&Wallet::ed25519_from_seed([2; 32])).unwrap()
    }

    fn moment(now_ms: u64, block_height: u64) -> Moment {
        Moment { now_ms, block_height }
    }

    /// A log with one process, spawned at this moment.
    fn log_with(spawn: &VerifiedItem, moment: Moment) -> MemoryLog {
        let log = MemoryLog::new();
        let trust = Trust { network: Arc::new(Network::open("test")), announced: Vec::new() };
        let submission = Submission::new(spawn.clone(), unit().address());
        let mut batch = Batch::new();
        assign(&log, &mut batch, &submission, moment, &trust, &unit()).unwrap().unwrap();
        log.commit(batch, Durability::Synced).unwrap();
        log
    }

    fn fired(log: &MemoryLog, id: &Id, now: Moment) -> Vec<Firing> {
        let mut batch = Batch::new();
        let block_time = |height| (height != 13).then_some(height * 10);
        let entries = fire(log, &mut batch, id, now, &block_time, &unit()).unwrap();
        // In the same batch nothing is due any more.
        assert!(fire(log, &mut batch, id, now, &block_time, &unit()).unwrap().is_empty());
        log.commit(batch, Durability::Synced).unwrap();
        entries.into_iter().filter_map(|entry| entry.assignment.statement.cron).collect()
    }

    #[test]
    fn crons_are_numbered_within_their_kind() {
        let spawn = spawn(&[
            ("Cron-Interval", "1-minute"),
            ("Cron-Tag-Action", "Slow"),
            ("Cron-Interval", "2-blocks"),
            ("Cron-Interval", "10-seconds"),
            ("Cron-Tag-Action", "Fast"),
            ("Cron-Tag-X", "y"),
        ]);
        let crons = crons(&spawn).unwrap();
        let ids: Vec<&str> = crons.iter().map(|cron| cron.id.as_str()).collect();
        assert_eq!(ids, ["0-2-blocks", "0-10-seconds", "1-1-minute"]);
        assert_eq!(crons[1].tags.len(), 2);
        assert_eq!(crons[2].every, Every::Seconds(60));
    }

    #[test]
    fn what_can_not_be_read_is_named() {
        let cause = |tags: &[(&str, &str)]| crons(&spawn(tags)).unwrap_err().to_string();
        assert!(cause(&[("Cron-Tag-Action", "x")]).contains("before any Cron-Interval"));
        for wrong in ["", "10", "-5-seconds", "0-seconds", "1-month", "1.5-hours", "99999999999999999999-weeks"] {
            assert!(cause(&[("Cron-Interval", wrong)]).contains("such as 10-seconds"), "{wrong}");
        }
        assert_eq!(crons(&spawn(&[("Cron-Interval", "1-day"); 17])), Err(CronError::TooMany));
    }

    #[test]
    fn each_due_second_fires_once() {
        let spawn = spawn(&[("Cron-Interval", "10-seconds")]);
        let log = log_with(&spawn, moment(5_900, 0));
        let id = spawn.id();
        assert!(fired(&log, &id, moment(14_999, 0)).is_empty());
        let times = |now| fired(&log, &id, moment(now, 0)).iter().map(|firing| firing.time_ms).collect::<Vec<_>>();
        assert_eq!(times(15_000), [15_000]);
        assert_eq!(times(15_999), [0; 0]);
        assert_eq!(times(45_100), [25_000, 35_000, 45_000]);
        assert_eq!(log.tip(&id).unwrap().unwrap().slot, 4);
        // A clock that is set back fires nothing twice.
        assert_eq!(times(20_000), [0; 0]);
        let entry = log.entry(&id, 1).unwrap().unwrap();
        assert_eq!(Entry::verify(&entry.to_bytes()).unwrap().assignment.statement, entry.assignment.statement);
    }

    #[test]
    fn after_a_long_pause_the_last_ones_fire_and_the_others_are_counted() {
        let spawn = spawn(&[("Cron-Interval", "1-second")]);
        let log = log_with(&spawn, moment(0, 0));
        let firings = fired(&log, &spawn.id(), moment(1_000_000, 0));
        assert_eq!((firings.len() as u64, firings[0].missed, firings[1].missed), (MAX_CAUGHT_UP, 900, 0));
        assert_eq!((firings[0].time_ms, firings[99].time_ms), (901_000, 1_000_000));
    }

    #[test]
    fn blocks_fire_at_their_height_if_they_are_known() {
        let spawn = spawn(&[("Cron-Interval", "3-blocks"), ("Cron-Interval", "20-seconds")]);
        let log = log_with(&spawn, moment(90_000, 7));
        let firings = fired(&log, &spawn.id(), moment(110_000, 16));
        let seen: Vec<(Option<u64>, u64, u64)> = firings.iter().map(|f| (f.block, f.time_ms, f.missed)).collect();
        assert_eq!(seen, [(Some(10), 100_000, 0), (None, 110_000, 0), (Some(16), 160_000, 1)]);
    }

    #[test]
    fn a_firing_is_a_message_of_the_owner_without_item() {
        let spawn = spawn(&[("Cron-Interval", "10-seconds"), ("Cron-Tag-Action", "Tick")]);
        let log = log_with(&spawn, moment(0, 5));
        fired(&log, &spawn.id(), moment(10_500, 6));
        let entry = log.entry(&spawn.id(), 1).unwrap().unwrap();
        let firing = entry.assignment.statement.cron.clone().unwrap();
        let message = message(&spawn, &entry.assignment, &firing);
        assert_eq!(
            (message.from.as_str(), message.timestamp, message.block_height),
            (&*spawn.signer_text(), 10_000, 6)
        );
        assert!(message.cron && message.id.is_none() && message.data.is_none() && message.nonce.is_none());
        assert_eq!(message.tags, [Tag { name: "Action".into(), value: "Tick".into() }]);
    }
}
