//! The only place that knows column families and keys. Keys are fixed-width and big-endian, so that their order is
//! that of slots and addresses; values are framed records of the protocol's wire format.

use ao_protocol::id::{Address, Id};
use ao_protocol::origin::{DeliveryId, OutboxKind};
use ao_protocol::wire::ItemBytes;
use serde::{Deserialize, Serialize};

use super::transactions::DataRoot;

/// Version of everything below. A database of another version is not opened.
pub(super) const FORMAT_VERSION: u32 = 11;

/// Key of the format version in the default column family.
pub(super) const FORMAT_KEY: &[u8] = b"format";
/// Key of the next bundle's number in the default column family.
pub(super) const BUNDLE_KEY: &[u8] = b"bundle";
/// Key of the next sequence of the index in the default column family.
pub(super) const SEQUENCE_KEY: &[u8] = b"sequence";

/// The column families, each once: with its keys and values, and what it is called on disk.
macro_rules! tables {
    ($($(#[$keys:meta])* $table:ident = $name:literal,)*) => {
        /// A column family.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Table {
            $($(#[$keys])* $table,)*
        }

        impl Table {
            /// All tables, to open them.
            pub(super) const ALL: &[Table] = &[$(Table::$table,)*];

            /// The name of the column family.
            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Table::$table => $name,)*
                }
            }
        }
    };
}

tables! {
    /// process, slot → entry
    Entries = "entries",
    /// process → tip
    Tips = "tips",
    /// process, item → slot
    SlotsByItem = "slots-by-item",
    /// delivery → process, slot
    SlotsByDelivery = "slots-by-delivery",
    /// item → where it is
    Items = "items",
    /// process, slot → outcome
    Outcomes = "outcomes",
    /// process → how far outcomes are known
    Computed = "computed",
    /// process, slot → what is known of the snapshot after it
    Snapshots = "snapshots",
    /// process, slot, number → piece of that snapshot
    SnapshotPieces = "snapshot-pieces",
    /// process → last slot that was evaluated here
    Evaluated = "evaluated",
    /// process, unit, slot → attestation, and when it came
    Attestations = "attestations",
    /// process, unit → what it attested and is wrong
    Dissents = "dissents",
    /// unit → proof that it lies
    Perjuries = "perjuries",
    /// unit → what it did in all races
    RaceAccounts = "race-accounts",
    /// process → next slot whose race is to be credited
    Credited = "credited",
    /// process → next slot to settle
    Delivered = "delivered",
    /// delivery → its state
    Deliveries = "deliveries",
    /// target that is no process yet, delivery → nothing
    Waiting = "waiting",
    /// delivery that is a dead letter → what is listed of it
    Dead = "dead",
    /// process, delivery that has a slot there, or had one → the delivery
    Received = "received",
    /// message that started others, scheduler of those who sent them → how many slots these got here
    Pushed = "pushed",
    /// process → two assignments of one slot
    Evidence = "evidence",
    /// process → how it was resumed
    Resumes = "resumes",
    /// process → how often slots of it were taken back
    Rewinds = "rewinds",
    /// process → how often something that it had sent was to be sent again
    SentAgain = "sent-again",
    /// process, slot → the only assignment that may be there
    Branches = "branches",
    /// process → slot whose checkpoint this node began with
    Bases = "bases",
    /// process → what is missing below that
    Holes = "holes",
    /// process, slot → hash of the state that was rebuilt here after it
    Rebuilt = "rebuilt",
    /// process, slot, unit → attestation of the state after it
    Checkpoints = "checkpoints",
    /// process, cron → where its last firing is in its row
    Fired = "fired",
    /// process, slot that is a cron's firing → nothing
    Firings = "firings",
    /// height → block
    Blocks = "blocks",
    /// block id → height
    BlockHeights = "block-heights",
    /// transaction → what was signed, and where it is
    Transactions = "transactions",
    /// number in the order of arrival → transaction that is not mined
    Pending = "pending",
    /// address → what it owns
    Accounts = "accounts",
    /// data root, size, transaction → nothing
    Roots = "roots",
    /// data root, size, end → piece of data
    Chunks = "chunks",
    /// data root, size → bytes of it that are here
    Held = "held",
    /// end in the data of all transactions → transaction
    Weave = "weave",
    /// transaction that is a bundle → nothing
    ToUnpack = "to-unpack",
    /// term, height, sequence → nothing; for the term of everything: item
    Postings = "postings",
    /// item → height, sequence
    Positions = "positions",
    /// process → next slot to index
    Indexed = "indexed",
    /// item → the transaction or item that it is bundled in
    Carriers = "carriers",
    /// item → the receipt that its uploader got
    Receipts = "receipts",
    /// item that was uploaded, and not yet taken apart and told to others → nothing
    Uploads = "uploads",
    /// data root, size, end → piece of a data file that is on disk
    Pieces = "pieces",
    /// process → next slot to mirror
    Mirrored = "mirrored",
    /// module that is in a bundle → nothing
    MirroredModules = "mirrored-modules",
    /// process → slot of the last checkpoint that went into bundles
    MirroredCheckpoints = "mirrored-checkpoints",
    /// process → slot and outcome of a state that was on Arweave
    RestoredCheckpoints = "restored-checkpoints",
    /// process, slot, number → piece of that state
    RestoredPieces = "restored-pieces",
    /// number → bundle on its way to Arweave
    Bundles = "bundles",
    /// number → the data of that
    BundleData = "bundle-data",
    /// what is restored, bundle → nothing: all that is wanted of it is here
    Restored = "restored",
    /// process whose log was lost → who followed it
    Recovering = "recovering",
    /// number → bundle that is on Arweave for good
    Landed = "landed",
}

impl Table {
    /// Whether keys are looked up one by one, often in vain, so that a filter pays.
    pub(super) fn is_point_lookup(self) -> bool {
        matches!(
            self,
            Table::SlotsByItem
                | Table::SlotsByDelivery
                | Table::Items
                | Table::Tips
                | Table::Dead
                | Table::Perjuries
                | Table::Pushed
                | Table::Evidence
                | Table::Positions
                | Table::Carriers
                | Table::Receipts
        )
    }
}

/// Where an item is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Place {
    /// Here: it has no slot.
    Here(ItemBytes),
    /// It is the assigned item of a slot.
    Item(Id, u64),
    /// It is the assignment of a slot.
    Assignment(Id, u64),
}

/// process
pub(super) fn process(process: &Id) -> [u8; 32] {
    process.to_bytes()
}

/// process, slot
pub(super) fn slot(process: &Id, slot: u64) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(process.as_ref());
    key[32..].copy_from_slice(&slot.to_be_bytes());
    key
}

/// process, slot, number
pub(super) fn piece(process: &Id, at: u64, number: u32) -> [u8; 44] {
    let mut key = [0; 44];
    key[..40].copy_from_slice(&slot(process, at));
    key[40..].copy_from_slice(&number.to_be_bytes());
    key
}

/// data root, size
pub(super) fn data_root(root: &DataRoot) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(root.root.as_ref());
    key[32..].copy_from_slice(&root.size.to_be_bytes());
    key
}

/// data root, size, end
pub(super) fn chunk(root: &DataRoot, end: u64) -> [u8; 48] {
    let mut key = [0; 48];
    key[..40].copy_from_slice(&data_root(root));
    key[40..].copy_from_slice(&end.to_be_bytes());
    key
}

/// data root, size, transaction
pub(super) fn data_holder(root: &DataRoot, transaction: &Id) -> [u8; 72] {
    let mut key = [0; 72];
    key[..40].copy_from_slice(&data_root(root));
    key[40..].copy_from_slice(transaction.as_ref());
    key
}

/// process, cron
pub(super) fn cron(process: &Id, cron: &str) -> Vec<u8> {
    [process.as_ref(), cron.as_bytes()].concat()
}

/// process, item
pub(super) fn item(process: &Id, item: &Id) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(process.as_ref());
    key[32..].copy_from_slice(item.as_ref());
    key
}

/// process, unit
pub(super) fn of_unit(process: &Id, unit: &Address) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(process.as_ref());
    key[32..].copy_from_slice(unit.as_ref());
    key
}

/// process, unit, slot
pub(super) fn attestation(process: &Id, unit: &Address, slot: u64) -> [u8; 72] {
    let mut key = [0; 72];
    key[..64].copy_from_slice(&of_unit(process, unit));
    key[64..].copy_from_slice(&slot.to_be_bytes());
    key
}

/// process, slot, unit
pub(super) fn checkpoint(process: &Id, at: u64, unit: &Address) -> [u8; 72] {
    let mut key = [0; 72];
    key[..40].copy_from_slice(&slot(process, at));
    key[40..].copy_from_slice(unit.as_ref());
    key
}

/// source, slot, kind, position, whether there is a target, target
pub(super) fn delivery(id: &DeliveryId) -> [u8; 78] {
    let mut key = [0; 78];
    key[..40].copy_from_slice(&slot(&id.origin.process, id.origin.slot));
    key[40] = match id.origin.index.kind {
        OutboxKind::Message => 0,
        OutboxKind::Spawn => 1,
        OutboxKind::Assignment => 2,
        OutboxKind::Spawned => 3,
    };
    key[41..45].copy_from_slice(&id.origin.index.position.to_be_bytes());
    if let Some(target) = &id.target {
        key[45] = 1;
        key[46..].copy_from_slice(target.as_ref());
    }
    key
}

/// message, scheduler
pub(super) fn pushed(root: &Id, by: &Address) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(root.as_ref());
    key[32..].copy_from_slice(by.as_ref());
    key
}

/// target, delivery
pub(super) fn waiting(target: &Id, id: &DeliveryId) -> [u8; 110] {
    let mut key = [0; 110];
    key[..32].copy_from_slice(target.as_ref());
    key[32..].copy_from_slice(&delivery(id));
    key
}

/// What an indexed item is found by: a hash.
pub(super) type Term = [u8; 16];

/// term, place in the order of the index: height above sequence
pub(super) fn posting(term: &Term, place: u128) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(term);
    key[16..].copy_from_slice(&place.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use ao_protocol::origin::{Origin, OutboxIndex};

    #[test]
    fn keys_are_in_the_order_of_what_they_name() {
        let id = Id::from([1; 32]);
        assert!(slot(&id, 255) < slot(&id, 256));
        let delivery_of = |kind, position, target| {
            let origin = Origin { process: id, slot: 1, index: OutboxIndex { kind, position } };
            DeliveryId { origin, target }
        };
        let ids = [
            delivery_of(OutboxKind::Message, 2, Some(id)),
            delivery_of(OutboxKind::Message, 10, None),
            delivery_of(OutboxKind::Spawn, 0, None),
            delivery_of(OutboxKind::Assignment, 0, Some(id)),
            delivery_of(OutboxKind::Spawned, 0, Some(id)),
        ];
        assert!(ids.is_sorted() && ids.map(|id| delivery(&id)).is_sorted());
    }
}
