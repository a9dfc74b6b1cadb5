//! From an outbox entry to the item that carries it: what the messenger signs, tag by tag as ao's reference messenger
//! does it, with the origin added.

use serde_json::Value;
use thiserror::Error;

use crate::assignment::ORIGIN_ASSIGNMENT;
use crate::entry::Entry;
use crate::id::{Address, Id};
use crate::item::{ItemBuilder, VerifiedItem};
use crate::origin::{ORIGIN_INDEX, ORIGIN_SLOT, Origin};
use crate::outcome::OutboxEntry;
use crate::process::Process;
use crate::tag::Tag;
use crate::wallet::Signer;

/// Why an outbox entry can't become an item. The text is shown as the reason of a dead letter.
#[derive(Debug, Error)]
pub(crate) enum OutboxError {
    /// A field that is missing or of the wrong type.
    #[error("{0}")]
    Field(String),
    /// The item can't be signed, most often because its tags are too large.
    #[error("the item can't be made: {0}")]
    Item(String),
}

/// The process that sends, and the slot that sent.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) process: &'a Process,
    pub(crate) entry: &'a Entry,
}

/// What sends, and who signs for it.
pub(super) struct Sender<'a> {
    pub(super) source: Source<'a>,
    pub(super) signer: &'a dyn Signer,
}

/// Tags that the messenger sets itself and takes from nobody.
const OWN_TAGS: [&str; 8] = [
    "Data-Protocol",
    "Type",
    "From-Process",
    "From-Module",
    "Assignments",
    ORIGIN_SLOT,
    ORIGIN_INDEX,
    ORIGIN_ASSIGNMENT,
];

impl Source<'_> {
    /// How far from the user's message the things are that this slot sends.
    pub(super) fn depth(&self) -> u32 {
        self.entry.assignment.statement.depth.saturating_add(1)
    }

    /// The user's message at the root of the chain; none when it began with a cron. What was pushed here says it; in
    /// anybody else's item that tag is only a word.
    fn pushed_for(&self) -> Option<String> {
        let (statement, item) = (&self.entry.assignment.statement, &self.entry.item);
        match statement.origin {
            Some(_) => self.entry.carrier().tag("Pushed-For").map(str::to_string),
            None => statement.cron.is_none().then(|| item.id().to_string()),
        }
    }

    /// The tags of the sending process with the origin, in the order of the reference messenger.
    fn provenance(&self, item: ItemBuilder, origin: &Origin) -> ItemBuilder {
        let module = self.process.item.tag("Module").unwrap_or_default();
        let [from_process, slot, index] = origin.tags();
        let mut item = item;
        item.tags.push(from_process);
        let mut item = item.tag("From-Module", module);
        if let Some(root) = self.pushed_for() {
            item = item.tag("Pushed-For", root);
        }
        item.tags.extend([slot, index]);
        // Where a slot was given twice it says which of the two sent it.
        item.tag(ORIGIN_ASSIGNMENT, self.entry.assignment.id().to_string())
    }

    /// The item of a message entry.
    pub(crate) fn message(&self, entry: &OutboxEntry, target: Id, origin: &Origin) -> Result<ItemBuilder, OutboxError> {
        let fields = fields(entry)?;
        let mut item = ItemBuilder::new().target(target).anchor(anchor(&fields, origin)).data(data(entry));
        item.tags = tags(&fields)?;
        item.tags.retain(|tag| !OWN_TAGS.contains(&tag.name.as_str()));
        let item = item.tag("Data-Protocol", "ao").tag("Type", "Message");
        Ok(self.provenance(item, origin))
    }

    /// The item of a spawn entry.
    pub(crate) fn spawn(&self, entry: &OutboxEntry, origin: &Origin) -> Result<ItemBuilder, OutboxError> {
        let fields = fields(entry)?;
        let mut item = ItemBuilder::new().data(data(entry));
        item.tags = tags(&fields)?;
        item.tags.retain(|tag| !OWN_TAGS.contains(&tag.name.as_str()) && tag.name != "Variant");
        if !item.tags.iter().any(|tag| tag.name == "Module") {
            return Err(OutboxError::Field("a spawn needs the tag Module".into()));
        }
        let named = item.tags.iter().any(|tag| tag.name == "Scheduler");
        let mut item = item.tag("Variant", "ao.TN.1").tag("Data-Protocol", "ao").tag("Type", "Process");
        if !named {
            item = item.tag("Scheduler", self.process.scheduler_at(self.entry.slot()).to_string());
        }
        Ok(self.provenance(item, origin))
    }

    /// The notice that tells the parent which process its spawn became.
    pub(crate) fn spawned(&self, entry: &OutboxEntry, child: &Id, origin: &Origin) -> Result<ItemBuilder, OutboxError> {
        let mut item = ItemBuilder::new().target(self.process.id()).anchor(anchor(&Value::Null, origin));
        item.tags = tags(&fields(entry)?)?;
        item.tags.retain(|tag| !OWN_TAGS.contains(&tag.name.as_str()) && tag.name != "Variant");
        let item = item
            .data(b" ".to_vec())
            .tag("Data-Protocol", "ao")
            .tag("Type", "Message")
            .tag("Process", child.to_string())
            .tag("Action", "Spawned")
            .tag("Variant", "ao.TN.1");
        Ok(self.provenance(item, origin))
    }

    /// The request that gives an existing item a slot of another process.
    pub(crate) fn assign(&self, message: Id, target: Id, origin: &Origin) -> ItemBuilder {
        let delivery = format!("{origin}/{target}");
        let item = ItemBuilder::new()
            .target(target)
            .anchor(*blake3::hash(delivery.as_bytes()).as_bytes())
            .tag("Data-Protocol", "ao")
            .tag("Type", "Assign")
            .tag("Message", message.to_string());
        self.provenance(item, origin)
    }
}

impl Sender<'_> {
    /// Signs an item that was made.
    pub(super) fn sign(&self, item: ItemBuilder) -> Result<VerifiedItem, OutboxError> {
        item.sign(self.signer).map_err(|cause| OutboxError::Item(cause.to_string()))
    }
}

/// The target of a message entry as text; what it names is found out when it is delivered.
pub(crate) fn target(entry: &OutboxEntry) -> Result<String, OutboxError> {
    match fields(entry)?.get("Target") {
        Some(Value::String(target)) => Ok(target.clone()),
        _ => Err(OutboxError::Field("a message needs a Target that is a string".into())),
    }
}

/// The scheduler of a spawn entry: the one that it names, else that of the process that spawns.
pub(crate) fn scheduler(entry: &OutboxEntry, parent: &Address) -> Result<Address, OutboxError> {
    match tags(&fields(entry)?)?.iter().find(|tag| tag.name == "Scheduler") {
        None => Ok(*parent),
        Some(tag) => {
            let wrong = |_| OutboxError::Field(format!("Scheduler {:?} of the spawn is no address", tag.value));
            tag.value.parse().map_err(wrong)
        }
    }
}

/// Item and receivers of an assignment entry.
pub(crate) fn assignment(entry: &OutboxEntry) -> Result<(Id, Vec<Id>), OutboxError> {
    let wrong = || OutboxError::Field("an assignment needs Message, an item id, and Processes, a list of ids".into());
    let fields = fields(entry)?;
    let id = |value: &Value| value.as_str().and_then(|text| text.parse::<Id>().ok()).ok_or_else(wrong);
    let message = id(fields.get("Message").unwrap_or(&Value::Null))?;
    let processes = fields.get("Processes").and_then(Value::as_array).ok_or_else(wrong)?;
    Ok((message, processes.iter().map(id).collect::<Result<_, _>>()?))
}

fn fields(entry: &OutboxEntry) -> Result<Value, OutboxError> {
    let value: Value = serde_json::from_str(&entry.fields)
        .map_err(|cause| OutboxError::Field(format!("the entry is no JSON object: {cause}")))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(OutboxError::Field("the entry is no table with named fields".into()))
    }
}

/// An empty or absent `Data` becomes one space, as in the reference messenger.
fn data(entry: &OutboxEntry) -> Vec<u8> {
    match &entry.data {
        Some(data) if !data.is_empty() => data.clone(),
        _ => b" ".to_vec(),
    }
}

/// The entry's own anchor if it has 32 bytes, else one that follows from the origin.
fn anchor(fields: &Value, origin: &Origin) -> [u8; 32] {
    let own = fields.get("Anchor").and_then(Value::as_str).and_then(|text| text.as_bytes().try_into().ok());
    own.unwrap_or_else(|| *blake3::hash(origin.to_string().as_bytes()).as_bytes())
}

fn tags(fields: &Value) -> Result<Vec<Tag>, OutboxError> {
    let list = match fields.get("Tags") {
        Some(Value::Array(list)) => list,
        _ => return Err(OutboxError::Field("Tags must be a list of {name, value}".into())),
    };
    let tag = |value: &Value| match (value.get("name"), value.get("value")) {
        (Some(Value::String(name)), Some(Value::String(value))) => Ok(Tag::new(name.clone(), value.clone())),
        (Some(Value::String(name)), Some(value)) => {
            Err(OutboxError::Field(format!("tag {name} is {value}: the value of a tag must be a string")))
        }
        _ => Err(OutboxError::Field("Tags must be a list of {name, value}".into())),
    };
    list.iter().map(tag).collect()
}
