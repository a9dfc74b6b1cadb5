//! What a process runs: its module, from here or from peers, and its limits, if this node computes such ones.

use ao_protocol::id::Id;
use ao_protocol::log::Log;
use ao_protocol::message::{Env, Unit};
use ao_protocol::module::Module;
use ao_protocol::process::Process;

use super::super::lookup::{self, Found};
use super::{Computer, Stall};
use crate::vm::{Limits, Program};

/// Largest memory limit of a process that this node computes, in bytes.
pub(super) const MAX_PROCESS_MEMORY: u64 = 2 * 1024 * 1024 * 1024;
/// Largest instruction limit of a process that this node computes: what a slow machine does well within the time that
/// a worker is given, so that a message which uses it up ends in the same error everywhere.
pub(super) const MAX_PROCESS_INSTRUCTIONS: u64 = 2_000_000_000;

impl Computer {
    /// What the process runs: its module, from here or from peers, and its limits.
    pub(super) async fn program(&self, id: &Id) -> Result<Program, Stall> {
        let world = &self.0.world;
        let first = world.log().entry(id, 0)?.ok_or_else(|| Stall::Reason("its first slot is missing".into()))?;
        let spawn = &first.item;
        let reason = |cause: String| Stall::Reason(cause);
        let process = Process::read(spawn).map_err(|cause| reason(cause.to_string()))?;
        let item = match lookup::item_or_on_arweave(world, &process.module).await? {
            Found::Item(item) => item,
            _ => return Err(Stall::Reason(format!("module {} is not known here or at peers", process.module))),
        };
        // An item never changes: what is wrong with it stays so.
        let module = Module::read(&item).map_err(|cause| Stall::ForGood(cause.to_string()))?;
        let limits = module.limits(spawn).map_err(|cause| Stall::ForGood(cause.to_string()))?;
        if limits.memory_bytes > MAX_PROCESS_MEMORY || limits.instructions > MAX_PROCESS_INSTRUCTIONS {
            let text = format!(
                "its limits ({} bytes, {} instructions) exceed this node's ({MAX_PROCESS_MEMORY}, \
                 {MAX_PROCESS_INSTRUCTIONS})",
                limits.memory_bytes, limits.instructions
            );
            return Err(Stall::ForGood(text));
        }
        Ok(Program {
            env: Env { process: Unit::of_process(&first), module: Unit::of(&item) },
            source: module.source,
            limits: Limits { memory_bytes: limits.memory_bytes, instructions: limits.instructions },
        })
    }
}
