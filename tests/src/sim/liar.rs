//! A compute unit that lies.

use ao_protocol::id::Id;
use ao_protocol::outcome::OutboxEntry;

/// How a compute unit lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// It says that something else came out.
    Output,
    /// It says that something was sent that was not.
    Outbox,
    /// It also attests something else of the same slot.
    Perjury,
    /// It attests nothing.
    Silence,
}

/// What a lying unit says that a process sent.
pub(super) fn stolen(process: &Id) -> OutboxEntry {
    let fields =
        serde_json::json!({ "Target": process.to_string(), "Tags": [{ "name": "Action", "value": "Forged" }] });
    OutboxEntry { fields: fields.to_string(), data: Some(b"stolen".to_vec()) }
}
