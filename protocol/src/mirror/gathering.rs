//! Gathering slots into a bundle.

use std::collections::BTreeSet;

use super::{
    LOG_BUNDLE, LOG_CERTIFICATES, LOG_FOLLOWERS, LOG_RANGE, MAX_BUNDLED_RANGES, MAX_NAMED_FOLLOWERS, MAX_TAGGED_RANGES,
    Range, TIMESTAMP,
};
use crate::certificate::Certificate;
use crate::entry::Entry;
use crate::evidence;
use crate::id::{Address, Id};
use crate::item::bundle::{self, MAX_BUNDLED_ITEMS};
use crate::item::{ItemBuilder, ItemError, VerifiedItem};
use crate::log::{Log, LogError};
use crate::tag::Tag;
use crate::wallet::Signer;
use crate::wire;

/// Most bytes of certificates in one item.
const CERTIFICATES_BYTES: usize = 4 * 1024 * 1024;
/// Items that a slot, its process and the bundle's own may need beside those that are in already.
const SPARE_ITEMS: usize = 200;

/// Slots on their way into a bundle.
pub struct Gathering {
    max_bytes: usize,
    bytes: usize,
    items: Vec<VerifiedItem>,
    ids: BTreeSet<Id>,
    certificates: Vec<Certificate>,
    ranges: Vec<Range>,
    /// The latest time of a slot, in milliseconds.
    latest_ms: u64,
    full: bool,
}

/// A bundle.
#[derive(Clone, Debug)]
pub struct Bundled {
    /// The data of the transaction.
    pub data: Vec<u8>,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// What is in it.
    pub ranges: Vec<Range>,
    /// Modules that are in it.
    pub modules: Vec<Id>,
}

impl Gathering {
    /// Nothing yet; a bundle of about so many bytes. A single slot may be larger.
    pub fn new(max_bytes: usize) -> Gathering {
        Gathering {
            max_bytes,
            bytes: 0,
            items: Vec::new(),
            ids: BTreeSet::new(),
            certificates: Vec::new(),
            ranges: Vec::new(),
            latest_ms: 0,
            full: false,
        }
    }

    /// Adds the slots of a process from one on: as many as are there, are not disputed, and fit. Says which is next.
    /// Its module goes with them, unless it is in some other bundle, as `has_module` says.
    pub fn add(
        &mut self,
        log: &dyn Log,
        process: &Id,
        from: u64,
        has_module: &dyn Fn(&Id) -> bool,
    ) -> Result<u64, LogError> {
        let disputed = evidence::disputed_from(log, process)?.unwrap_or(u64::MAX);
        let mut next = from;
        while !self.full && next < disputed {
            let Some(entry) = log.entry(process, next)? else { break };
            let bytes = size(&entry);
            // Each range has an item of its own, too.
            let many = self.items.len() + self.ranges.len() + SPARE_ITEMS > MAX_BUNDLED_ITEMS
                || self.ranges.len() >= MAX_BUNDLED_RANGES;
            if many || (!self.items.is_empty() && self.bytes + bytes > self.max_bytes) {
                self.full = true;
                break;
            }
            self.entry(entry);
            next += 1;
        }
        let Some(read) = log.process(process)?.filter(|_| next > from) else { return Ok(next) };
        if !has_module(&read.module)
            && let Some(module) = log.item(&read.module)?
        {
            self.item(module);
        }
        for resume in &read.resumes {
            self.item(resume.item.clone());
        }
        let scheduler = read.scheduler();
        self.ranges.push(Range { process: *process, first: from, last: next - 1, scheduler });
        Ok(next)
    }

    fn entry(&mut self, entry: Entry) {
        self.latest_ms = self.latest_ms.max(entry.assignment.statement.timestamp_ms);
        if let Some(certificate) = entry.certificate {
            self.bytes += certificate.size();
            self.certificates.push(*certificate);
        }
        self.item(entry.item);
        self.item(entry.assignment.item);
        entry.proof.into_iter().for_each(|proof| self.item(proof));
    }

    fn item(&mut self, item: VerifiedItem) {
        if self.ids.insert(item.id()) {
            self.bytes += item.bytes().len();
            self.items.push(item);
        }
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.full || self.bytes >= self.max_bytes
    }

    /// Makes the bundle; `signer` signs what is said of it, and the unit that mirrors says who follows it.
    pub fn finish(
        mut self,
        signer: &dyn Signer,
        (unit, followers): (&dyn Signer, &[Address]),
    ) -> Result<Bundled, ItemError> {
        let modules =
            self.items.iter().filter(|item| item.tag("Type") == Some("Module")).map(|item| item.id()).collect();
        let own =
            |kind: &str| ItemBuilder::new().tag("Data-Protocol", "ao").tag("Variant", "ao.TN.1").tag("Type", kind);
        let mut part: Vec<Vec<u8>> = Vec::new();
        let mut parts = Vec::new();
        for certificate in &self.certificates {
            part.push(certificate.to_bytes());
            if part.iter().map(Vec::len).sum::<usize>() > CERTIFICATES_BYTES {
                parts.push(std::mem::take(&mut part));
            }
        }
        parts.extend((!part.is_empty()).then_some(part));
        for part in parts {
            self.item(own(LOG_CERTIFICATES).data(wire::encode_bare(&part)).sign(signer)?);
        }
        for range in self.ranges.clone() {
            let item = own(LOG_RANGE)
                .tag("Process", range.process.to_string())
                .tag("First-Slot", range.first.to_string())
                .tag("Last-Slot", range.last.to_string())
                .tag("Scheduler", range.scheduler.to_string());
            self.item(item.data(" ").sign(signer)?);
        }
        let names: Vec<String> = followers.iter().take(MAX_NAMED_FOLLOWERS).map(Address::to_string).collect();
        if !names.is_empty() {
            let item = own(LOG_FOLLOWERS).tag(TIMESTAMP, self.latest_ms.to_string());
            self.item(item.data(names.join("\n")).sign(unit)?);
        }
        Ok(Bundled {
            data: bundle::encode(&self.items),
            tags: tags(&self.ranges, self.latest_ms),
            ranges: self.ranges,
            modules,
        })
    }
}

/// Bytes of all that belongs to a slot.
fn size(entry: &Entry) -> usize {
    let proof = entry.proof.as_ref().map_or(0, |proof| proof.bytes().len());
    let certificate = entry.certificate.as_ref().map_or(0, |certificate| certificate.size());
    entry.assignment.item.bytes().len() + entry.item.bytes().len() + proof + certificate
}

/// What the transaction says.
pub(super) fn tags(ranges: &[Range], latest_ms: u64) -> Vec<Tag> {
    let mut tags = vec![
        Tag::new("Bundle-Format", "binary"),
        Tag::new("Bundle-Version", "2.0.0"),
        Tag::new("App-Name", "ao-node"),
        Tag::new("Data-Protocol", "ao"),
        Tag::new("Type", LOG_BUNDLE),
        Tag::new(TIMESTAMP, latest_ms.to_string()),
    ];
    if ranges.len() <= MAX_TAGGED_RANGES {
        for range in ranges {
            tags.push(Tag::new("Process", range.process.to_string()));
            tags.push(Tag::new("Slots", format!("{}-{}", range.first, range.last)));
        }
    }
    let schedulers: BTreeSet<Address> = ranges.iter().map(|range| range.scheduler).collect();
    for scheduler in schedulers.into_iter().take(MAX_TAGGED_RANGES) {
        tags.push(Tag::new("Scheduler", scheduler.to_string()));
    }
    tags
}
