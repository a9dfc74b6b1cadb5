//! A module: the program that processes run, as an item on the network.

use thiserror::Error;

use crate::item::VerifiedItem;

/// The module format that this implementation's compute unit evaluates; its exact semantics are pinned by the name.
pub const LUA_FORMAT: &str = "lua-5.3-ao1";
/// Memory of a process, in bytes, when neither its own tags nor its module's say.
pub const DEFAULT_MEMORY_LIMIT: u64 = 256 * 1024 * 1024;
/// Instructions of one evaluation when neither the process's tags nor its module's say.
pub const DEFAULT_COMPUTE_LIMIT: u64 = 1_000_000_000;
/// Most bytes of Lua source in a module.
pub const MAX_SOURCE_BYTES: usize = 4 * 1024 * 1024;

/// What a process may use, from its tags, else its module's, else the constants above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Instructions per evaluation.
    pub instructions: u64,
}

/// A Lua module, read once.
#[derive(Clone, Debug)]
pub struct Module {
    /// The item; its id is the module id.
    pub item: VerifiedItem,
    /// The Lua source that defines `handle(msg, env)`.
    pub source: String,
}

/// Why an item is not a module that can be run here. The text says why the process is not computed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ModuleError {
    /// Not of type Module.
    #[error("item {id} is no module: its tag Type is {found:?}")]
    OtherType {
        /// The item.
        id: String,
        /// What its Type says.
        found: String,
    },
    /// A format that no compute unit of this kind evaluates.
    #[error("module {id} has the format {found:?}, which is not supported; supported is {LUA_FORMAT:?}")]
    Format {
        /// The module.
        id: String,
        /// Its format.
        found: String,
    },
    /// The source is not text or too long.
    #[error("module {id}: its data is not Lua text of at most {MAX_SOURCE_BYTES} bytes")]
    Source {
        /// The module.
        id: String,
    },
    /// A limit that can't be read.
    #[error("tag {name} has the value {value:?}; expected {expected}")]
    Limit {
        /// Which tag.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it should say.
        expected: &'static str,
    },
}

impl Module {
    /// Reads a module item.
    pub fn read(item: &VerifiedItem) -> Result<Module, ModuleError> {
        let id = item.id().to_string();
        match item.tag("Type") {
            Some("Module") => {}
            other => return Err(ModuleError::OtherType { id, found: other.unwrap_or_default().to_string() }),
        }
        match item.tag("Module-Format") {
            Some(LUA_FORMAT) => {}
            other => return Err(ModuleError::Format { id, found: other.unwrap_or_default().to_string() }),
        }
        let text = std::str::from_utf8(item.data()).ok().filter(|text| text.len() <= MAX_SOURCE_BYTES);
        let source = text.ok_or(ModuleError::Source { id })?.to_string();
        Ok(Module { item: item.clone(), source })
    }

    /// What a process of this module may use.
    pub fn limits(&self, process: &VerifiedItem) -> Result<Limits, ModuleError> {
        let tag = |name| process.tag(name).or_else(|| self.item.tag(name));
        let memory_bytes = match tag("Memory-Limit") {
            None => DEFAULT_MEMORY_LIMIT,
            Some(text) => byte_size(text).ok_or_else(|| ModuleError::Limit {
                name: "Memory-Limit",
                value: text.to_string(),
                expected: "a size such as 500-mb or 1-gb",
            })?,
        };
        let instructions = match tag("Compute-Limit") {
            None => DEFAULT_COMPUTE_LIMIT,
            Some(text) => text.parse().map_err(|_| ModuleError::Limit {
                name: "Compute-Limit",
                value: text.to_string(),
                expected: "a whole number of instructions",
            })?,
        };
        Ok(Limits { memory_bytes, instructions })
    }
}

/// Reads `1-gb`, `500-mb`, `64 kb` or `1000` as bytes; units are binary.
fn byte_size(text: &str) -> Option<u64> {
    let text = text.replace('-', "").to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim() {
        "" | "b" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::ItemBuilder;
    use crate::wallet::Wallet;

    #[test]
    fn limits_come_from_the_process_then_the_module_then_the_protocol() {
        let wallet = Wallet::ed25519_from_seed([1; 32]);
        let module = ItemBuilder::new()
            .tag("Type", "Module")
            .tag("Module-Format", LUA_FORMAT)
            .tag("Memory-Limit", "1-gb")
            .data(b"return 1".to_vec());
        let module = Module::read(&module.sign(&wallet).unwrap()).unwrap();
        let plain = ItemBuilder::new().sign(&wallet).unwrap();
        let own = ItemBuilder::new().tag("Memory-Limit", "64-mb").tag("Compute-Limit", "5").sign(&wallet).unwrap();
        let wrong = ItemBuilder::new().tag("Memory-Limit", "much").sign(&wallet).unwrap();
        assert_eq!(module.limits(&plain), Ok(Limits { memory_bytes: 1 << 30, instructions: DEFAULT_COMPUTE_LIMIT }));
        assert_eq!(module.limits(&own), Ok(Limits { memory_bytes: 64 << 20, instructions: 5 }));
        assert!(module.limits(&wrong).is_err());
    }

    #[test]
    fn a_wasm_module_gets_a_clear_error() {
        let item = ItemBuilder::new().tag("Type", "Module").tag("Module-Format", "wasm64-unknown-emscripten");
        let cause = Module::read(&item.sign(&Wallet::ed25519_from_seed([1; 32])).unwrap()).unwrap_err();
        assert!(cause.to_string().contains("wasm64-unknown-emscripten"), "{cause}");
    }
}
