//! The scheduler's rule: give an item the next slot of its process, once. It writes nothing: the driver joins many of
//! these into one batch, commits it synced, and only then lets a receipt out.

mod proof;
mod receipt;
mod refusal;

use std::sync::Arc;

use crate::assignment::{Statement, first_link};
use crate::certificate::Certificate;
use crate::entry::{Entry, MAX_ASSIGN_BYTES};
use crate::evidence;
use crate::id::{Address, Id};
use crate::item::{DataItem, VerifiedItem};
use crate::log::{Batch, Log, LogError, Write};
use crate::origin::{DeliveryId, FROM_PROCESS, Origin};
use crate::process::Process;
use crate::reference::{self, Reference};
use crate::trust::Trust;
use crate::wallet::Signer;
use proof::Pushed;

pub use receipt::read_receipt;
pub use refusal::Refusal;

/// Longest chain of messages that one user's message, or one firing of a cron, may start.
pub const MAX_PUSH_DEPTH: u32 = 256;
/// Most messages that one user's message, or one firing of a cron, may start in all, as far as one scheduler gives them
/// their slots and processes of one scheduler send them.
pub const MAX_PUSHED: u64 = 100_000;

/// A verified item that somebody wants to have a slot.
#[derive(Clone, Debug)]
pub struct Submission {
    /// A process, a message, or a messenger's `Assign`.
    pub item: VerifiedItem,
    /// Who submits it and will deliver the answer. Of what a process sent it does not matter: whoever signed it will.
    pub messenger: Address,
    /// What proves that a process which asks for a quorum sent it.
    pub certificate: Option<Box<Certificate>>,
    /// What the scheduler looked up of data that is not in logs: of a spawn that names such data, and of an `Assign` by
    /// reference; see [`crate::reference`].
    pub references: Option<VerifiedItem>,
}

impl Submission {
    /// Without a certificate or references.
    pub fn new(item: VerifiedItem, messenger: Address) -> Submission {
        Submission { item, messenger, certificate: None, references: None }
    }
}

/// What [`assign`] found or made.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The slot, with its assignment.
    pub entry: Entry,
    /// Whether it was made now; false when the item had its slot before.
    pub new: bool,
}

/// The scheduler's clock and chain, read once per batch.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// Arweave's height as far as it is known.
    pub block_height: u64,
}

/// Gives an item its slot: the same slot however often it is submitted. Adds the new entry to `batch`, which is
/// committed synced before the receipt is shown to anybody.
///
/// Order of checks: the item's form; its id seen before → that receipt; its origin seen before → that receipt; origin
/// that can't be checked yet → temporary refusal; false origin → refusal. An item that claims an origin is never
/// scheduled as an ordinary one. How deep in a chain it is and what started it follow from the log of its source.
pub fn assign(
    log: &dyn Log,
    batch: &mut Batch,
    submission: &Submission,
    moment: Moment,
    trust: &Trust,
    signer: &dyn Signer,
) -> Result<Result<Receipt, Refusal>, LogError> {
    match plan(log, batch, submission, trust, signer)? {
        Err(refusal) => Ok(Err(refusal)),
        Ok(Plan::Known(entry)) => Ok(Ok(Receipt { entry: *entry, new: false })),
        Ok(Plan::Next { process, epoch, message, item, proof, pushed, authorities }) => {
            let pushed = pushed.as_deref().copied();
            let certificate = pushed.and_then(|_| submission.certificate.clone());
            let tip = batch.tip(log, &process)?;
            let statement = Statement {
                process,
                epoch,
                slot: tip.as_ref().map_or(0, |tip| tip.slot + 1),
                hash_chain: tip.as_ref().map_or_else(|| first_link(&process), |tip| tip.next_link),
                block_height: moment.block_height,
                // A clock that was set back repeats the last time instead of contradicting the order.
                timestamp_ms: tip.as_ref().map_or(0, |tip| tip.timestamp_ms).max(moment.now_ms),
                message: tip.is_some().then_some(message),
                messenger: Some(pushed.map_or(submission.messenger, |pushed| pushed.messenger)),
                depth: pushed.map_or(0, |pushed| pushed.depth),
                root: pushed.map(|pushed| pushed.root),
                origin: pushed.map(|pushed| pushed.origin),
                sent_by: pushed.map(|pushed| pushed.sent_by),
                assign: proof.as_ref().map(|proof| proof.id()),
                certificate: certificate.as_ref().map(|certificate| certificate.hash()),
                authorities,
                cron: None,
            };
            let assignment = match statement.sign(signer) {
                Ok(assignment) => assignment,
                Err(cause) => return Ok(Err(Refusal::Busy(format!("signing failed: {cause}")))),
            };
            // What could not be read back is no entry.
            let entry = match Entry::assemble(assignment, Some(item), proof, certificate) {
                Ok(entry) => entry,
                Err(cause) => return Ok(Err(Refusal::Invalid(cause.to_string()))),
            };
            batch.push(Write::Entry(Box::new(entry.clone())));
            if let Some(Pushed { root, by, .. }) = pushed {
                let count = batch.pushed(log, &root, &by)?.saturating_add(1);
                batch.push(Write::Pushed { root, by, count });
            }
            Ok(Ok(Receipt { entry, new: true }))
        }
    }
}

enum Plan {
    Known(Box<Entry>),
    Next {
        process: Id,
        epoch: u64,
        /// The id of what is assigned.
        message: Id,
        item: VerifiedItem,
        proof: Option<VerifiedItem>,
        pushed: Option<Box<Pushed>>,
        authorities: Vec<Address>,
    },
}

fn plan(
    log: &dyn Log,
    batch: &Batch,
    submission: &Submission,
    trust: &Trust,
    signer: &dyn Signer,
) -> Result<Result<Plan, Refusal>, LogError> {
    let item = &submission.item;
    macro_rules! refuse {
        ($refusal:expr) => {
            return Ok(Err($refusal))
        };
    }
    if let Err(reason) = well_formed(item) {
        refuse!(Refusal::Invalid(reason));
    }
    let origin = match Origin::read(item.tags()) {
        Ok(origin) => origin,
        Err(cause) => refuse!(Refusal::Invalid(cause.to_string())),
    };
    let kind = item.tag("Type").unwrap_or_default();
    let target = match kind {
        "Process" => item.id(),
        "Message" | "Assign" => match item.target() {
            Some(target) => target,
            None => refuse!(Refusal::Invalid(format!("a {kind} needs a target: the id of a process"))),
        },
        other => refuse!(Refusal::Unsupported(other.to_string())),
    };
    // The process, which for a spawn is the item itself.
    let process = match batch.process(log, &target)? {
        // All of it was taken back, and comes again.
        None if log.resumption(&target)?.rewinds > 0 => {
            refuse!(Refusal::Busy("the log of the process is on its way here".into()))
        }
        None if kind == "Process" => Some(Process::read(item).map(Arc::new)),
        known => known,
    };
    let process = match process {
        Some(Ok(process)) => process,
        Some(Err(cause)) => refuse!(Refusal::Invalid(cause.to_string())),
        None => refuse!(Refusal::UnknownProcess(target)),
    };
    // What is assigned: the item itself, or for an Assign what it names.
    let named = item.tag("Message").filter(|_| kind == "Assign").and_then(|id| id.parse().ok());
    let message = named.unwrap_or_else(|| item.id());
    let (scheduler, here) = (process.scheduler(), signer.address());
    if scheduler != here && process.resumes.is_empty() {
        refuse!(Refusal::Elsewhere { process: target, scheduler, here });
    }
    if scheduler != here {
        // What it gave a slot before it still has it.
        let known = known(log, batch, &target, &message)?;
        return Ok(known.map(Plan::Known).ok_or(Refusal::Moved { process: target, scheduler }));
    }
    let messengers = |item: &DataItem| trust.messengers(&process).contains(&item.address());
    let own = |id: Id| Refusal::Invalid(format!("item {id} is a message for {target}: it is scheduled as it is"));
    if let Some(entry) = known(log, batch, &target, &message)? {
        return Ok(if kind == "Assign" && !entry.is_from_elsewhere() {
            Err(own(message))
        } else {
            Ok(Plan::Known(entry))
        });
    }
    let (assigned, proof) = if kind == "Assign" && submission.references.is_none() {
        match assigned_item(log, item)? {
            Ok(assigned) if assigned.target() == Some(target) => refuse!(own(assigned.id())),
            Ok(assigned) => (assigned, Some(item.clone())),
            Err(refusal) => refuse!(refusal),
        }
    } else {
        (item.clone(), submission.references.clone())
    };
    if kind == "Process" {
        match reference::of_spawn(item) {
            Ok(named) if named.is_empty() || submission.references.is_some() => {}
            Ok(_) => refuse!(Refusal::Busy("the data that it names was not looked up yet".into())),
            Err(cause) => refuse!(Refusal::Invalid(cause.to_string())),
        }
    }
    // By reference it is none of the process's own messages, either.
    let referred = match &submission.references {
        Some(references) if kind == "Assign" => match reference::read(references) {
            Ok(referred) => referred,
            Err(cause) => refuse!(Refusal::Invalid(cause.to_string())),
        },
        _ => Vec::new(),
    };
    let heads = referred.iter().filter_map(|reference| match reference {
        Reference::Item { head, .. } => Some(head),
        Reference::Transaction(_) => None,
    });
    // A messenger that the process believes does not say who sends without saying from which slot: that can be checked.
    let speaks_for = |item: &DataItem| item.tag(FROM_PROCESS).is_some() && messengers(item);
    if origin.is_none() && (speaks_for(item) || speaks_for(&assigned) || heads.into_iter().any(speaks_for)) {
        let text = "it says which process sent it and is signed by a messenger, but does not say from which slot";
        refuse!(Refusal::Invalid(text.to_string()));
    }
    let mut pushed = None;
    if let Some(origin) = origin {
        let target = if kind == "Process" { Id::from(scheduler.to_bytes()) } else { target };
        let delivery = DeliveryId { origin, target: Some(target) };
        // Of a slot that was given anew it is something else; where that slot is not known here, it can't be told.
        let sent_by = batch.entry(log, &origin.process, origin.slot)?.map(|entry| entry.assignment.id());
        if let Some((process, slot)) = batch.slot_of_delivery(log, &delivery)?
            && let Some(entry) = batch.entry(log, &process, slot)?
            && sent_by.is_some()
            && entry.assignment.statement.sent_by == sent_by
        {
            return Ok(Ok(Plan::Known(Box::new(entry))));
        }
        match proof::pushed(log, batch, submission, origin, kind, trust)? {
            Err(refusal) => refuse!(refusal),
            Ok(proven) if proven.depth > MAX_PUSH_DEPTH => refuse!(Refusal::TooDeep(proven.depth)),
            Ok(proven) if batch.pushed(log, &proven.root, &proven.by)? >= MAX_PUSHED => {
                refuse!(Refusal::TooMany(proven.root))
            }
            Ok(proven) => pushed = Some(Box::new(proven)),
        }
    }
    if kind == "Process" && process.compute_quorum as usize > trust.compute_units(&process).len().max(1) {
        let quorum = process.compute_quorum;
        let units = trust.compute_units(&process).len();
        refuse!(Refusal::Invalid(format!("Compute-Quorum {quorum} exceeds the {units} compute units of this network")));
    }
    if log.hole(&target)?.is_some() {
        refuse!(Refusal::Busy("a part of the process's log is still on its way here".into()));
    }
    if let Some(slot) = evidence::disputed_from(log, &target)? {
        refuse!(Refusal::Disputed { process: target, slot });
    }
    let authorities = if kind == "Process" { trust.implied_messengers(&process) } else { Vec::new() };
    let epoch = batch.tip(log, &target)?.map_or(0, |tip| process.epoch_at(tip.slot + 1));
    Ok(Ok(Plan::Next { process: target, epoch, message, item: assigned, proof, pushed, authorities }))
}

/// The slot that something has.
fn known(log: &dyn Log, batch: &Batch, process: &Id, message: &Id) -> Result<Option<Box<Entry>>, LogError> {
    let Some(slot) = batch.slot_of_item(log, process, message)? else { return Ok(None) };
    Ok(batch.entry(log, process, slot)?.map(Box::new))
}

/// What every scheduled item needs, whatever its type.
fn well_formed(item: &VerifiedItem) -> Result<(), String> {
    let protocol = item.tag("Data-Protocol").or_else(|| item.tag("data-protocol"));
    if protocol.is_none() {
        return Err("tag Data-Protocol is missing: ao's items carry Data-Protocol=ao".into());
    }
    if item.tag("Type").is_none() {
        return Err("Type tag not present: items for a scheduler are of Type Process or Message".into());
    }
    let link = |text: &str| text.ends_with("+link");
    match item.tags().iter().find(|tag| link(&tag.name) || link(&tag.value)) {
        Some(tag) => Err(format!("tag {}={:?}: names and values may not end in \"+link\"", tag.name, tag.value)),
        None => Ok(()),
    }
}

/// The item that an Assign names, from this scheduler's own log.
fn assigned_item(log: &dyn Log, assign: &VerifiedItem) -> Result<Result<VerifiedItem, Refusal>, LogError> {
    let bytes = assign.bytes().len();
    if bytes > MAX_ASSIGN_BYTES {
        return Ok(Err(Refusal::Invalid(format!("an Assign of {bytes} bytes; at most {MAX_ASSIGN_BYTES} are taken"))));
    }
    let Some(name) = assign.tag("Message") else {
        return Ok(Err(Refusal::Invalid("an Assign needs the tag Message: the id of the item to assign".into())));
    };
    let Ok(id) = name.parse::<Id>() else {
        return Ok(Err(Refusal::Invalid(format!("tag Message is {name:?}, which is not an item id"))));
    };
    match log.item(&id)? {
        Some(item) => Ok(Ok(item)),
        None => Ok(Err(Refusal::Busy(format!("item {id} is not known here yet")))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::item::ItemBuilder;
    use crate::log::{Durability, MemoryLog};
    use crate::network::Network;
    use crate::origin::{OutboxIndex, OutboxKind};
    use crate::resume::Resume;
    use crate::wallet::Wallet;
    use crate::wire::ItemBytes;

    /// A scheduler with two processes: the source has slots 0 to 2, the target slot 0.
    struct Setting {
        log: MemoryLog,
        trust: Trust,
        unit: Wallet,
        source: Id,
        target: Id,
        now_ms: u64,
    }

    fn user() -> Wallet {
        Wallet::ed25519_from_seed([2; 32])
    }

    fn messenger() -> Wallet {
        Wallet::ed25519_from_seed([3; 32])
    }

    /// What an item was made of.
    fn message_of(item: &VerifiedItem) -> ItemBuilder {
        let (target, anchor) = (item.target(), item.anchor().copied());
        ItemBuilder { target, anchor, tags: item.tags().to_vec(), data: item.data().to_vec() }
    }

    fn message(target: Id, n: u8) -> ItemBuilder {
        ItemBuilder::new().target(target).anchor([n; 32]).tag("Data-Protocol", "ao").tag("Type", "Message")
    }

    impl Setting {
        fn new() -> Setting {
            let mut network = Network::open("test");
            network.open = false;
            network.messengers = vec![messenger().address()];
            let trust = Trust { network: Arc::new(network), announced: Vec::new() };
            let unit = Wallet::ed25519_from_seed([1; 32]);
            let id = Id::from([0; 32]);
            let mut setting = Setting { log: MemoryLog::new(), trust, unit, source: id, target: id, now_ms: 1000 };
            setting.source = setting.spawn(1, &[]);
            setting.target = setting.spawn(2, &[]);
            for n in 1..=2 {
                setting.user(message(setting.source, n)).unwrap();
            }
            setting
        }

        fn spawn(&mut self, n: u8, tags: &[(&str, &str)]) -> Id {
            let mut item = ItemBuilder::new()
                .anchor([n; 32])
                .tag("Data-Protocol", "ao")
                .tag("Type", "Process")
                .tag("Module", Id::from([9; 32]).to_string())
                .tag("Scheduler", self.unit.address().to_string());
            for (name, value) in tags {
                item = item.tag(*name, *value);
            }
            self.user(item).unwrap().entry.process()
        }

        fn user(&mut self, item: ItemBuilder) -> Result<Receipt, Refusal> {
            self.submit(&item, &user())
        }

        fn submit(&mut self, item: &ItemBuilder, signer: &Wallet) -> Result<Receipt, Refusal> {
            let item = item.sign(signer).unwrap();
            let submission = Submission::new(item, messenger().address());
            let mut batch = Batch::new();
            let moment = Moment { now_ms: self.now_ms, block_height: 7 };
            let receipt = assign(&self.log, &mut batch, &submission, moment, &self.trust, &self.unit).unwrap();
            self.log.commit(batch, Durability::Synced).unwrap();
            receipt
        }

        fn pushed(&self, slot: u64, kind: OutboxKind, n: u8) -> ItemBuilder {
            let origin = Origin { process: self.source, slot, index: OutboxIndex { kind, position: 0 } };
            let mut item = message(self.target, n);
            item.tags.extend(origin.tags());
            item
        }
    }

    /// An `Assign` of something, and what the scheduler looked up of it.
    fn by_reference(setting: &Setting, reference: &Reference, n: u8) -> Submission {
        let id = reference.named().id;
        let item = ItemBuilder::new().target(setting.target).anchor([n; 32]).tag("Data-Protocol", "ao");
        let item = item.tag("Type", "Assign").tag("Message", id.to_string()).sign(&messenger()).unwrap();
        let references = std::slice::from_ref(reference);
        let references = reference::write(setting.target, item.id(), references, &setting.unit).unwrap();
        Submission { references: Some(references), ..Submission::new(item, messenger().address()) }
    }

    fn given(setting: &Setting, submission: &Submission) -> Result<Receipt, Refusal> {
        let (mut batch, moment) = (Batch::new(), Moment { now_ms: 1000, block_height: 7 });
        let receipt = super::assign(&setting.log, &mut batch, submission, moment, &setting.trust, &setting.unit);
        setting.log.commit(batch, Durability::Synced).unwrap();
        receipt.unwrap()
    }

    #[test]
    fn what_is_assigned_by_reference_has_one_slot_however_it_is_asked_for() {
        let mut setting = Setting::new();
        let data = ItemBuilder::new().data(vec![7; 100]).sign(&user()).unwrap();
        let reference = Reference::of_item(&data).unwrap();
        let submission = by_reference(&setting, &reference, 1);
        let receipt = given(&setting, &submission).unwrap();
        let entry = crate::entry::Entry::verify(&receipt.entry.to_bytes()).unwrap();
        let message = crate::message::Message::of(&entry).unwrap();
        assert_eq!((message.id, message.data, message.data_size), (Some(data.id().to_string()), None, Some(100)));
        assert_eq!((message.named, message.from), (vec![reference.named()], data.signer_text()));
        let assignment = receipt.entry.assignment.item.clone();
        assert!(read_receipt(&setting.log, assignment, &submission.item, &setting.unit.address()).is_ok());
        // Again, without looking anything up, by another request, and by value: it has its slot.
        let by_value = ItemBuilder { anchor: Some([9; 32]), ..message_of(&submission.item) };
        let mut batch = Batch::new();
        batch.push(Write::Item(data.clone()));
        setting.log.commit(batch, Durability::Synced).unwrap();
        for again in [
            given(&setting, &submission),
            given(&setting, &Submission { references: None, ..submission.clone() }),
            given(&setting, &by_reference(&setting, &reference, 2)),
            setting.submit(&by_value, &messenger()),
        ] {
            let again = again.unwrap();
            assert_eq!((again.new, again.entry.slot()), (false, entry.slot()));
        }
        assert_eq!(setting.log.slot_of_item(&setting.target, &data.id()).unwrap(), Some(entry.slot()));
    }

    #[test]
    fn nothing_that_is_the_processs_own_is_assigned_by_reference() {
        let mut setting = Setting::new();
        let refused = |setting: &Setting, item: &VerifiedItem| {
            let submission = by_reference(setting, &Reference::of_item(item).unwrap(), 1);
            assert!(matches!(given(setting, &submission), Err(Refusal::Invalid(_))), "{:?}", item.tags());
        };
        // Its messages would come twice, whether they have their slots or not.
        let scheduled = setting.user(message(setting.target, 50)).unwrap().entry;
        refused(&setting, &scheduled.item);
        refused(&setting, &message(setting.target, 51).sign(&user()).unwrap());
        // The word of a messenger that it trusts would count, though nobody can check it.
        let says = message(setting.source, 52).tag(FROM_PROCESS, setting.source.to_string());
        refused(&setting, &says.sign(&messenger()).unwrap());
        let spawn = setting.log.entry(&setting.target, 0).unwrap().unwrap().item;
        refused(&setting, &spawn);
        let spawned = setting.submit(&message_of(&spawn), &user()).unwrap();
        assert_eq!((spawned.new, spawned.entry.slot()), (false, 0));
    }

    #[test]
    fn references_are_the_schedulers_word_on_what_is_asked_for() {
        let setting = Setting::new();
        let item = |text: &str| Reference::of_item(&ItemBuilder::new().data(text).sign(&user()).unwrap()).unwrap();
        let (reference, other) = (item("one"), item("other"));
        let receipt = given(&setting, &by_reference(&setting, &reference, 1)).unwrap();
        let asks = receipt.entry.item.id();
        let with = |process, asks, references: &[Reference], signer: &Wallet| {
            let references = reference::write(process, asks, references, signer).unwrap();
            let mut statement = receipt.entry.assignment.statement.clone();
            statement.assign = Some(references.id());
            let assignment = statement.sign(&setting.unit).unwrap();
            let entry = Entry { assignment, proof: Some(references), ..receipt.entry.clone() };
            crate::entry::Entry::verify(&entry.to_bytes()).is_ok()
        };
        let right = std::slice::from_ref(&reference);
        assert!(with(setting.target, asks, right, &setting.unit));
        assert!(!with(setting.target, asks, right, &messenger()));
        assert!(!with(setting.source, asks, right, &setting.unit));
        assert!(!with(setting.target, setting.target, right, &setting.unit));
        for wrong in [vec![], vec![other.clone()], vec![reference.clone(), other]] {
            assert!(!with(setting.target, asks, &wrong, &setting.unit));
        }
    }

    #[test]
    fn the_same_item_gets_the_same_slot() {
        let mut setting = Setting::new();
        let item = message(setting.target, 50);
        let first = setting.user(item.clone()).unwrap();
        let again = setting.user(item).unwrap();
        assert!(first.new && !again.new);
        assert_eq!(first.entry.assignment.id(), again.entry.assignment.id());
        assert_eq!(first.entry.slot(), 1);
    }

    #[test]
    fn time_never_goes_back() {
        let mut setting = Setting::new();
        let before = setting.user(message(setting.target, 1)).unwrap();
        setting.now_ms = 10;
        let after = setting.user(message(setting.target, 2)).unwrap();
        let times = [before, after].map(|receipt| receipt.entry.assignment.statement.timestamp_ms);
        assert_eq!(times, [1000, 1000]);
    }

    #[test]
    fn the_first_slot_says_whom_a_process_trusts_that_names_nobody() {
        let mut setting = Setting::new();
        let first = |setting: &Setting, id: Id| setting.log.entry(&id, 0).unwrap().unwrap();
        let silent = first(&setting, setting.source);
        assert_eq!(silent.assignment.statement.authorities, [messenger().address()]);
        let unit = crate::message::Unit::of_process(&silent);
        assert_eq!(unit.tags.last().map(|tag| tag.value.clone()), Some(messenger().address().to_string()));
        let named = setting.spawn(9, &[("Authority", &messenger().address().to_string())]);
        assert!(first(&setting, named).assignment.statement.authorities.is_empty());
    }

    #[test]
    fn nobody_takes_the_place_of_another_processs_spawn() {
        let mut setting = Setting::new();
        let origin =
            Origin { process: setting.source, slot: 2, index: OutboxIndex { kind: OutboxKind::Spawn, position: 0 } };
        let spawn = |n: u8, scheduler: &Wallet| {
            let mut item = ItemBuilder::new()
                .anchor([n; 32])
                .tag("Data-Protocol", "ao")
                .tag("Type", "Process")
                .tag("Module", Id::from([9; 32]).to_string())
                .tag("Scheduler", scheduler.address().to_string());
            item.tags.extend(origin.tags());
            item
        };
        // A stranger's process, scheduled by the stranger, that claims to be what the source spawned.
        let stranger = Wallet::ed25519_from_seed([66; 32]);
        let item = spawn(1, &stranger).sign(&stranger).unwrap();
        let statement = Statement {
            process: item.id(),
            epoch: 0,
            slot: 0,
            hash_chain: first_link(&item.id()),
            block_height: 0,
            timestamp_ms: 1,
            message: None,
            messenger: Some(stranger.address()),
            depth: 1,
            root: Some(item.id()),
            origin: Some(origin),
            sent_by: Some(item.id()),
            assign: None,
            certificate: None,
            authorities: Vec::new(),
            cron: None,
        };
        let entry = Entry { assignment: statement.sign(&stranger).unwrap(), item, proof: None, certificate: None };
        let mut batch = Batch::new();
        let entry = Entry::verify(&entry.to_bytes()).unwrap();
        crate::repair::accept(&setting.log, &mut batch, entry).unwrap().unwrap();
        setting.log.commit(batch, Durability::Relaxed).unwrap();

        let real = spawn(2, &setting.unit);
        let first = setting.submit(&real, &messenger()).unwrap();
        assert!(first.new, "the real one gets its slot");
        let again = setting.submit(&spawn(3, &setting.unit), &messenger()).unwrap();
        assert!(!again.new && again.entry.process() == first.entry.process(), "and only one");
    }

    #[test]
    fn an_entry_states_the_origin_of_its_item_and_no_other() {
        let mut setting = Setting::new();
        let receipt = setting.user(message(setting.target, 50)).unwrap();
        let index = OutboxIndex { kind: OutboxKind::Message, position: 0 };
        let mut forged = receipt.entry;
        let statement = &mut forged.assignment.statement;
        statement.origin = Some(Origin { process: setting.source, slot: 1, index });
        (statement.depth, statement.root) = (1, Some(setting.source));
        forged.assignment = forged.assignment.statement.clone().sign(&setting.unit).unwrap();
        let cause = Entry::verify(&forged.to_bytes()).unwrap_err().to_string();
        assert!(cause.contains("another origin"), "{cause}");
    }

    #[test]
    fn an_assign_is_small_and_for_another_process() {
        let mut setting = Setting::new();
        let item = setting.user(message(setting.target, 50)).unwrap().entry.item;
        let assign = |target: Id, data: usize| {
            let request = ItemBuilder::new().target(target).tag("Data-Protocol", "ao").tag("Type", "Assign");
            request.tag("Message", item.id().to_string()).data(vec![0; data])
        };
        let refused = |result: Result<Receipt, Refusal>, expected: &str| {
            let cause = result.unwrap_err();
            assert!(!cause.is_temporary() && cause.to_string().contains(expected), "{cause}");
        };
        let (source, target) = (setting.source, setting.target);
        refused(setting.user(assign(source, MAX_ASSIGN_BYTES)), "at most");
        refused(setting.user(assign(target, 0)), "scheduled as it is");
        let mut entry = setting.user(assign(source, 0)).unwrap().entry;
        assert!(Entry::verify(&entry.to_bytes()).is_ok());
        // A relay can't blow an entry up either.
        entry.proof = Some(assign(source, MAX_ASSIGN_BYTES).sign(&user()).unwrap());
        assert!(Entry::verify(&entry.to_bytes()).is_err());
        let mut plain = setting.log.entry(&target, 1).unwrap().unwrap();
        plain.proof = Some(assign(target, 0).sign(&user()).unwrap());
        assert!(Entry::verify(&plain.to_bytes()).is_err());
    }

    #[test]
    fn a_pushed_entry_is_known_by_its_origin_whoever_signed_it() {
        let mut setting = Setting::new();
        let other = Wallet::ed25519_from_seed([4; 32]);
        let mut network = (*setting.trust.network).clone();
        network.messengers.push(other.address());
        setting.trust.network = Arc::new(network);
        let first = setting.submit(&setting.pushed(2, OutboxKind::Message, 1), &messenger()).unwrap();
        let again = setting.submit(&setting.pushed(2, OutboxKind::Message, 2), &other).unwrap();
        assert!(first.new && !again.new);
        assert_eq!(first.entry.slot(), again.entry.slot());
        assert_eq!(first.entry.assignment.statement.depth, 1);
    }

    #[test]
    fn a_false_origin_is_refused_and_does_not_stand_in_the_way() {
        let mut setting = Setting::new();
        let forged = setting.submit(&setting.pushed(2, OutboxKind::Message, 1), &user()).unwrap_err();
        assert!(matches!(forged, Refusal::FalseOrigin { .. }), "{forged}");
        let misplaced = setting.submit(&setting.pushed(2, OutboxKind::Spawn, 1), &messenger()).unwrap_err();
        assert!(matches!(misplaced, Refusal::FalseOrigin { .. }), "{misplaced}");
        assert!(setting.submit(&setting.pushed(2, OutboxKind::Message, 1), &messenger()).unwrap().new);
    }

    #[test]
    fn an_origin_that_is_not_known_yet_may_come_again() {
        let mut setting = Setting::new();
        let early = setting.submit(&setting.pushed(3, OutboxKind::Message, 1), &messenger()).unwrap_err();
        assert!(matches!(early, Refusal::UnprovenOrigin(_)) && early.is_temporary());
        setting.user(message(setting.source, 3)).unwrap();
        assert!(setting.submit(&setting.pushed(3, OutboxKind::Message, 1), &messenger()).is_ok());
    }

    #[test]
    fn an_assign_gives_an_item_from_elsewhere_a_slot_once() {
        let mut setting = Setting::new();
        let item = setting.user(message(setting.source, 70)).unwrap().entry.item;
        let assign = |n: u8| {
            let item_id = item.id().to_string();
            let mut builder = message(setting.target, n).tag("Message", item_id);
            builder.tags.retain(|tag| tag.name != "Type");
            builder.tag("Type", "Assign")
        };
        let (one, two) = (assign(1), assign(2));
        let first = setting.submit(&one, &messenger()).unwrap();
        assert_eq!((first.entry.item.id(), first.entry.process()), (item.id(), setting.target));
        Entry::verify(&first.entry.to_bytes()).unwrap();
        assert!(!setting.submit(&two, &messenger()).unwrap().new);
    }

    #[test]
    fn what_can_not_be_scheduled_says_why() {
        let mut setting = Setting::new();
        let unknown = Id::from([77; 32]);
        let cases: Vec<(ItemBuilder, &str)> = vec![
            (message(unknown, 1), "unknown process"),
            (ItemBuilder::new().target(unknown).tag("Type", "Message"), "Data-Protocol"),
            (ItemBuilder::new().tag("Data-Protocol", "ao"), "Type tag not present"),
            (ItemBuilder::new().tag("Data-Protocol", "ao").tag("Type", "Message"), "target"),
            (ItemBuilder::new().tag("Data-Protocol", "ao").tag("Type", "Module"), "Unsupported Type"),
            (message(setting.target, 1).tag("x+link", "y"), "+link"),
            (message(setting.target, 1).tag("Origin-Slot", "1"), "incomplete origin"),
            (ItemBuilder::new().tag("Data-Protocol", "ao").tag("Type", "Process"), "Module"),
        ];
        for (item, expected) in cases {
            let refusal = setting.user(item).unwrap_err().to_string();
            assert!(refusal.contains(expected), "{refusal:?} should say {expected:?}");
        }
    }

    #[test]
    fn another_schedulers_process_is_not_scheduled_here() {
        let mut setting = Setting::new();
        setting.unit = Wallet::ed25519_from_seed([8; 32]);
        let refusal = setting.user(message(setting.target, 1)).unwrap_err();
        assert!(matches!(refusal, Refusal::Elsewhere { .. }) && !refusal.is_temporary());
    }

    #[test]
    fn a_quorum_beyond_the_network_is_refused_at_the_spawn() {
        let mut setting = Setting::new();
        let item = ItemBuilder::new()
            .tag("Data-Protocol", "ao")
            .tag("Type", "Process")
            .tag("Module", Id::from([9; 32]).to_string())
            .tag("Scheduler", setting.unit.address().to_string())
            .tag("Compute-Quorum", "2");
        assert!(setting.user(item).unwrap_err().to_string().contains("Compute-Quorum 2"));
    }

    #[test]
    fn a_receipt_counts_only_from_the_process_s_scheduler_and_for_the_item() {
        let mut setting = Setting::new();
        let receipt = setting.user(message(setting.target, 1)).unwrap();
        let (item, assignment) = (receipt.entry.item, receipt.entry.assignment.item);
        assert!(read_receipt(&setting.log, assignment.clone(), &item, &setting.unit.address()).is_ok());
        let forged = receipt.entry.assignment.statement.clone().sign(&user()).unwrap();
        assert!(read_receipt(&setting.log, forged.item, &item, &setting.unit.address()).is_err());
        // Whom it was asked of does not matter where the process's own scheduler gave the slot.
        assert!(read_receipt(&setting.log, assignment.clone(), &item, &user().address()).is_ok());
        let other = message(setting.target, 2).sign(&user()).unwrap();
        assert!(read_receipt(&setting.log, assignment, &other, &setting.unit.address()).is_err());
    }

    #[test]
    fn a_receipt_of_a_void_branch_does_not_count_before_the_other_is_here() {
        let mut setting = Setting::new();
        let receipt = setting.user(message(setting.target, 1)).unwrap();
        let (slot, item, assignment) = (receipt.entry.slot(), receipt.entry.item, receipt.entry.assignment.item);
        let read = |setting: &Setting| {
            read_receipt(&setting.log, assignment.clone(), &item, &setting.unit.address()).map(|read| read.id())
        };
        let other = Id::from([7; 32]);
        let resume = Resume::item(setting.target, slot + 1, (other, 0), setting.unit.address(), 1).sign(&user());
        let mut batch = Batch::new();
        let resumes = vec![ItemBytes(resume.unwrap().bytes().to_vec())];
        batch.push(Write::Resumes { process: setting.target, resumes });
        let mut rewound = |path: Vec<Id>| {
            batch.push(Write::Rewind { process: setting.target, from: slot, path });
            setting.log.commit(std::mem::take(&mut batch), Durability::Synced).unwrap();
            read(&setting)
        };
        assert_eq!(rewound(vec![assignment.id(), other]), Ok(assignment.id()), "it is on the branch");
        assert!(rewound(vec![other, other]).unwrap_err().contains("before the process was resumed"));
    }

    #[test]
    fn depth_and_root_follow_from_the_source_and_not_from_who_submits() {
        let mut setting = Setting::new();
        let root = setting.log.entry(&setting.source, 2).unwrap().unwrap().item.id();
        let first = setting.submit(&setting.pushed(2, OutboxKind::Message, 1), &messenger()).unwrap().entry;
        let statement = &first.assignment.statement;
        assert_eq!(
            (statement.depth, statement.root, statement.messenger),
            (1, Some(root), Some(messenger().address()))
        );
        // What that slot sends in turn, to the source.
        let origin = Origin::at(setting.target, first.slot(), OutboxKind::Message, 0);
        let mut item = message(setting.source, 9);
        item.tags.extend(origin.tags());
        // A stranger submits what the messenger signed, in their own name.
        let submission = Submission::new(item.sign(&messenger()).unwrap(), user().address());
        let mut batch = Batch::new();
        let moment = Moment { now_ms: 1, block_height: 7 };
        let receipt = assign(&setting.log, &mut batch, &submission, moment, &setting.trust, &setting.unit).unwrap();
        let statement = receipt.unwrap().entry.assignment.statement;
        assert_eq!(
            (statement.depth, statement.root, statement.messenger),
            (2, Some(root), Some(messenger().address()))
        );
        assert_eq!(batch.pushed(&setting.log, &root, &setting.unit.address()).unwrap(), 2);
    }

    #[test]
    fn one_message_starts_no_endless_chain_and_no_avalanche() {
        let mut setting = Setting::new();
        let (mut source, mut slot) = (setting.source, 2);
        for depth in 1..=MAX_PUSH_DEPTH + 1 {
            let target = if source == setting.source { setting.target } else { setting.source };
            let mut item = message(target, 1);
            item.tags.extend(Origin::at(source, slot, OutboxKind::Message, 0).tags());
            match setting.submit(&item, &messenger()) {
                Ok(receipt) => (source, slot) = (target, receipt.entry.slot()),
                Err(refusal) => assert_eq!((refusal, depth), (Refusal::TooDeep(257), MAX_PUSH_DEPTH + 1)),
            }
        }
        let root = setting.log.entry(&setting.source, 2).unwrap().unwrap().item.id();
        let by = setting.unit.address();
        assert_eq!(setting.log.pushed(&root, &by).unwrap(), u64::from(MAX_PUSH_DEPTH));
        let mut batch = Batch::new();
        batch.push(Write::Pushed { root, by, count: MAX_PUSHED });
        setting.log.commit(batch, Durability::Synced).unwrap();
        let mut second = setting.pushed(2, OutboxKind::Message, 5);
        second.tags.retain(|tag| tag.name != "Origin-Index");
        let refusal = setting.submit(&second.tag("Origin-Index", "m1"), &messenger()).unwrap_err();
        assert_eq!(refusal, Refusal::TooMany(root));
        assert!(!refusal.is_temporary());
        // What has its slot already is answered all the same.
        assert!(!setting.submit(&setting.pushed(2, OutboxKind::Message, 1), &messenger()).unwrap().new);
    }
}
