//! The world around ao's rules.
//!
//! | part | what it owns | what it answers |
//! |---|---|---|
//! | [`store`] | the log on disk | reads; atomic, synced writes |
//! | [`net`] | the swarm, in one task | publish, request, who is there |
//! | [`vm`] | worker processes | a message's outcome |
//! | [`drive`] | when each rule runs: a task or thread per role | receipts |
//! | [`arweave`] | the dev chain, and what is said to gateways | where data is |
//! | [`restore`] | nothing: it fills a log from Arweave | what came of it |
//! | [`mod@node`] | nothing: it wires the parts together | |
//!
//! HTTP and the command line are thin: they translate. Roles never call each other; they meet in the log.

// Offsets, counts and memory limits are 64-bit throughout, and records are little-endian.
#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!("ao-node runs on 64-bit little-endian machines only");

pub mod arweave;
pub mod cli;
mod console;
pub mod drive;
pub mod http;
pub mod key_file;
mod metrics;
pub mod net;
pub mod node;
pub mod restore;
pub mod runtime;
pub mod store;
pub mod vm;
