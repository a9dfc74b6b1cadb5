//! The log on Arweave: slots of processes as the items of a bundle, from which anybody can rebuild them.
//!
//! A bundle is whole in itself: it has every assignment with its message, and what else its slots need. Nothing in it
//! is believed for being there: each part carries the signature of whoever made it, and slots are taken from it as from
//! any peer. Who wrote the bundle does not matter, and may lie in its tags, which only say where to look.
//!
//! | tags of the transaction | |
//! |---|---|
//! | `Bundle-Format`, `Bundle-Version` | `binary`, `2.0.0` |
//! | `Data-Protocol`, `Type` | `ao`, `Log-Bundle` |
//! | `Timestamp` | the latest time of a slot in it, in milliseconds |
//! | `Process`, `Slots` | of each range, `first-last`; left out where there are more than [`MAX_TAGGED_RANGES`] |
//! | `Scheduler` | of those |
//!
//! Beside the log's own items it holds an item of `Type` `Log-Range` for each range, with the tags `Process`,
//! `First-Slot`, `Last-Slot` and `Scheduler`, by which gateways that look into bundles find it; and items of `Type`
//! `Log-Certificates`, whose data are certificates that assignments name by their hash; and one of `Type`
//! `Log-Followers`, in which the scheduler itself says who follows it, an address a line: should it lose its log, these
//! may have what was not mirrored yet. States of processes are in bundles of their own: see [`checkpoint`].

pub mod checkpoint;
mod contents;
mod gathering;

use crate::id::{Address, Id};
use crate::tag::{self, Tag};

pub use contents::Contents;
pub use gathering::{Bundled, Gathering};

/// `Type` of a transaction that holds slots.
pub const LOG_BUNDLE: &str = "Log-Bundle";
/// `Type` of an item that says which slots it lies beside.
pub const LOG_RANGE: &str = "Log-Range";
/// `Type` of an item in which a scheduler says who follows it.
const LOG_FOLLOWERS: &str = "Log-Followers";
/// Most followers that a bundle names.
pub const MAX_NAMED_FOLLOWERS: usize = 256;
/// The latest time of a slot in it: bundles of one block are looked at in this order.
const TIMESTAMP: &str = "Timestamp";
/// `Type` of an item that holds certificates.
const LOG_CERTIFICATES: &str = "Log-Certificates";
/// Most ranges in one bundle.
pub const MAX_BUNDLED_RANGES: usize = 10_000;
/// Most ranges that the tags of a transaction name.
pub const MAX_TAGGED_RANGES: usize = 8;

/// Slots of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Range {
    /// The process.
    pub process: Id,
    /// The first slot.
    pub first: u64,
    /// The last slot.
    pub last: u64,
    /// Who schedules it.
    pub scheduler: Address,
}

/// The latest time of a slot that is in a bundle, in milliseconds, as its tags say; the latest of all where they don't.
pub fn claimed_ms(tags: &[Tag]) -> u64 {
    tag::find(tags, TIMESTAMP).and_then(|time| time.parse().ok()).unwrap_or(u64::MAX)
}

/// The first slot that the tags of a transaction, or of a range's item, name, of whatever process.
pub fn first_claimed_slot(tags: &[Tag]) -> Option<u64> {
    tags.iter().find_map(|tag| match tag.name.as_str() {
        "Slots" => tag.value.split_once('-')?.0.parse().ok(),
        "First-Slot" => tag.value.parse().ok(),
        _ => None,
    })
}

/// The lowest and the highest slot of a process that the tags of a transaction, or of a range's item, say to be there.
/// Whoever wrote them may say anything.
pub fn claimed_slots(tags: &[Tag], process: &Id) -> Option<(u64, u64)> {
    let process = process.to_string();
    let mut slots: Option<(u64, u64)> = None;
    let mut add = |first: &str, last: &str| {
        let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>()) else { return };
        let (low, high) = slots.unwrap_or((first, last));
        slots = Some((low.min(first), high.max(last)));
    };
    let mut named = "";
    let (mut first, mut last) = (None, None);
    for tag in tags {
        match tag.name.as_str() {
            "Process" => named = &tag.value,
            "Slots" if named == process => {
                if let Some((first, last)) = tag.value.split_once('-') {
                    add(first, last);
                }
            }
            "First-Slot" => first = Some(&tag.value),
            "Last-Slot" => last = Some(&tag.value),
            _ => {}
        }
    }
    if let (true, Some(first), Some(last)) = (named == process, first, last) {
        add(first, last);
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Certificate;
    use crate::evidence;
    use crate::item::{DataItem, ItemBuilder, bundle};
    use crate::log::{Batch, Durability, Log, MemoryLog, Write};
    use crate::messenger::outbox::Source;
    use crate::origin::{Origin, OutboxKind};
    use crate::outcome::{OutboxEntry, Outcome};
    use crate::repair::{Accepted, accept};
    use crate::sample::{MESSENGER, SCHEDULER, Sample, UNITS, plain, unit};
    use crate::scheduler::{Moment, Submission, assign};
    use crate::wallet::{Signer, Wallet};

    fn gather(log: &dyn Log, process: &Id, from: u64, max_bytes: usize) -> (Bundled, u64) {
        let mut gathering = Gathering::new(max_bytes);
        let next = gathering.add(log, process, from, &|_| false).unwrap();
        (gathering.finish(&unit(99), (&unit(SCHEDULER), &[unit(7).address()])).unwrap(), next)
    }

    fn contents(bundled: &Bundled) -> Contents {
        let items = bundle::decode(&bundled.data).unwrap();
        Contents::of(items.into_iter().map(|item| DataItem::verify(item).unwrap()).collect())
    }

    /// Takes all that a bundle holds into a log; says how many slots were new.
    fn take(log: &dyn Log, contents: &Contents) -> usize {
        let mut new = 0;
        for assignment in contents.assignments() {
            let mut batch = Batch::new();
            let accepted = accept(log, &mut batch, contents.entry(assignment).unwrap()).unwrap().unwrap();
            new += usize::from(accepted == Accepted::New);
            log.commit(batch, Durability::Synced).unwrap();
        }
        new
    }

    /// A process that asks for a quorum and sends itself a message, which comes with a certificate; and a module.
    fn sample() -> Sample {
        let sample = Sample::new(2, 4);
        let fields = format!(r#"{{"Target":"{}","Tags":[]}}"#, sample.id());
        sample.compute(4, |slot| match slot {
            1 => Outcome { messages: vec![OutboxEntry { fields: fields.clone(), data: None }], ..plain(1) },
            _ => plain(slot),
        });
        sample.hear(sample.truth(UNITS[0], 1), 1, None);
        sample.hear(sample.truth(UNITS[1], 3), 1, None);
        let origin = Origin::at(sample.id(), 1, OutboxKind::Message, 0);
        let certificate = Certificate::of(&sample.log, &sample.process, &sample.trust, &origin).unwrap().unwrap();
        let entry = sample.log.entry(&sample.id(), 1).unwrap().unwrap();
        let outbox = OutboxEntry { fields, data: None };
        let source = Source { process: &sample.process, entry: &entry };
        let item = source.message(&outbox, sample.id(), &origin).unwrap().sign(&unit(MESSENGER)).unwrap();
        let submission =
            Submission { certificate: Some(Box::new(certificate)), ..Submission::new(item, unit(MESSENGER).address()) };
        let (mut batch, moment) = (Batch::new(), Moment { now_ms: 1, block_height: 0 });
        assign(&sample.log, &mut batch, &submission, moment, &sample.trust, &unit(SCHEDULER)).unwrap().unwrap();
        sample.log.commit(batch, Durability::Synced).unwrap();
        sample
    }

    #[test]
    fn a_log_comes_back_from_bundles_of_any_size() {
        let sample = sample();
        let tip = sample.log.tip(&sample.id()).unwrap();
        for max_bytes in [1, 2000, 1 << 20] {
            let (restored, mut next, mut bundles) = (MemoryLog::new(), 0, 0);
            while next <= 4 {
                let (bundled, after) = gather(&sample.log, &sample.id(), next, max_bytes);
                assert_eq!(bundled.ranges[0], Range { last: after - 1, ..bundled.ranges[0] });
                let contents = contents(&bundled);
                assert_eq!(take(&restored, &contents), (after - next) as usize);
                assert_eq!(take(&restored, &contents), 0, "once more");
                (next, bundles) = (after, bundles + 1);
            }
            assert_eq!((restored.tip(&sample.id()).unwrap(), bundles > 1), (tip.clone(), max_bytes < 1 << 20));
            let (bundled, _) = gather(&sample.log, &sample.id(), 0, max_bytes);
            let followers = (1, vec![unit(7).address()]);
            assert_eq!(contents(&bundled).followers, [(unit(SCHEDULER).address(), followers)].into());
            let certified = restored.entry(&sample.id(), 4).unwrap().unwrap();
            assert!(certified.certificate.is_some());
        }
        let (bundled, next) = gather(&sample.log, &sample.id(), 5, 1 << 20);
        assert_eq!((bundled.ranges.len(), next), (0, 5));
    }

    #[test]
    fn what_is_disputed_waits() {
        let sample = sample();
        let entry = sample.log.entry(&sample.id(), 2).unwrap().unwrap();
        let statement = crate::assignment::Statement { timestamp_ms: 9, ..entry.assignment.statement.clone() };
        let other = crate::entry::Entry { assignment: statement.sign(&unit(SCHEDULER)).unwrap(), ..entry.clone() };
        let mut batch = Batch::new();
        batch.push(evidence::between(&entry, &other));
        sample.log.commit(batch, Durability::Synced).unwrap();
        assert_eq!(gather(&sample.log, &sample.id(), 0, 1 << 20).1, 2);
    }

    #[test]
    fn a_module_goes_with_the_first_slot_once() {
        let sample = Sample::new(1, 2);
        let module =
            ItemBuilder::new().tag("Type", "Module").data("return 1").sign(&Wallet::ed25519_from_seed([5; 32]));
        let (module, log) = (module.unwrap(), MemoryLog::new());
        let spawn = ItemBuilder { tags: sample.process.item.tags().to_vec(), ..ItemBuilder::new() };
        let named = |mut spawn: ItemBuilder| {
            let tag = spawn.tags.iter_mut().find(|tag| tag.name == "Module").unwrap();
            tag.value = module.id().to_string();
            spawn.sign(&unit(2)).unwrap()
        };
        let spawn = named(spawn);
        let submission = Submission::new(spawn.clone(), unit(MESSENGER).address());
        let (mut batch, moment) = (Batch::new(), Moment { now_ms: 1, block_height: 0 });
        batch.push(Write::Item(module.clone()));
        assign(&log, &mut batch, &submission, moment, &sample.trust, &unit(SCHEDULER)).unwrap().unwrap();
        log.commit(batch, Durability::Synced).unwrap();
        let with = |has: bool| {
            let mut gathering = Gathering::new(1 << 20);
            gathering.add(&log, &spawn.id(), 0, &|id| has && *id == module.id()).unwrap();
            gathering.finish(&unit(99), (&unit(SCHEDULER), &[])).unwrap()
        };
        assert_eq!((with(false).modules, with(true).modules), (vec![module.id()], vec![]));
        assert_eq!(contents(&with(false)).modules().map(|item| item.id()).collect::<Vec<_>>(), vec![module.id()]);
    }

    #[test]
    fn tags_say_which_slots_of_which_process() {
        let sample = sample();
        let (bundled, _) = gather(&sample.log, &sample.id(), 1, 1 << 20);
        let other = Id::from([8; 32]);
        let claimed = claimed_slots;
        assert_eq!(claimed(&bundled.tags, &sample.id()), Some((1, 4)));
        assert_eq!(claimed(&bundled.tags, &other), None);
        assert_eq!((claimed_ms(&bundled.tags), claimed_ms(&[])), (1, u64::MAX));
        let items = bundle::decode(&bundled.data).unwrap();
        let range = items.iter().find(|item| item.tag("Type") == Some(LOG_RANGE)).unwrap();
        assert_eq!((claimed(range.tags(), &sample.id()), claimed(range.tags(), &other)), (Some((1, 4)), None));
        let first = |tags: &[Tag]| first_claimed_slot(tags);
        assert_eq!((first(&bundled.tags), first(range.tags()), first(&[])), (Some(1), Some(1), None));
        let each = |n: u8| Range {
            process: Id::from([n; 32]),
            first: u64::MAX - 1,
            last: u64::MAX,
            scheduler: unit(n).address(),
        };
        let bytes = |count: u8| -> usize {
            let tags = gathering::tags(&(0..count).map(each).collect::<Vec<_>>(), u64::MAX);
            tags.iter().map(|tag| tag.name.len() + tag.value.len()).sum()
        };
        let (most, more) = (bytes(MAX_TAGGED_RANGES as u8), bytes(MAX_TAGGED_RANGES as u8 + 1));
        assert!(most < crate::transaction::MAX_TRANSACTION_TAG_BYTES && more < most, "{most} {more}");
    }
}
