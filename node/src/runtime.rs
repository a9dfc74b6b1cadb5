//! Our runtime as a module item: built from its Lua sources at start and signed with the committed development wallet,
//! so that it has the same id on every node of this version. A test pins the id: a change is deliberate.

use std::sync::LazyLock;

use ao_protocol::id::Id;
use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::module::LUA_FORMAT;
use ao_protocol::wallet::Wallet;

use crate::vm::runtime::source;

/// The development wallet's seed. It is public: what it signs says where it comes from and nothing else.
const DEVELOPMENT_SEED: [u8; 32] = *b"ao-node development wallet seed!";

static MODULE: LazyLock<VerifiedItem> = LazyLock::new(|| {
    let item = ItemBuilder::new()
        .tag("Data-Protocol", "ao")
        .tag("Type", "Module")
        .tag("Variant", "ao.TN.1")
        .tag("Module-Format", LUA_FORMAT)
        .tag("Input-Encoding", "JSON-1")
        .tag("Output-Encoding", "JSON-1")
        .tag("Memory-Limit", "256-mb")
        .tag("Compute-Limit", "1000000000")
        .tag("Content-Type", "text/x-lua")
        .tag("Name", "ao-node-runtime")
        .data(source());
    let signed = item.sign(&Wallet::ed25519_from_seed(DEVELOPMENT_SEED));
    signed.unwrap_or_else(|cause| unreachable!("the runtime is an item within all limits: {cause}"))
});

/// The module item of our runtime.
pub fn module() -> &'static VerifiedItem {
    &MODULE
}

/// Its id, which spawns name.
pub fn module_id() -> Id {
    MODULE.id()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ao_protocol::module::Module;

    #[test]
    fn the_id_changes_only_on_purpose() {
        assert_eq!(
            module_id().to_string(),
            "fvrdbHyOBecv8fiOrdMyHr5iNg3he71DV9jRPTnWqqE",
            "the runtime's sources changed: pin the new id"
        );
        assert!(Module::read(module()).is_ok());
    }
}
