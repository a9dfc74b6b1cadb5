//! The `ao-node` program.

use std::process::ExitCode;

use ao_node::vm::{WORKER_ARGUMENT, ZYGOTE_ARGUMENT, run_worker, run_zygote};

fn main() -> ExitCode {
    // A worker is the same program in another mode; it must branch off before there is any thread.
    match std::env::args_os().nth(1) {
        Some(mode) if mode == WORKER_ARGUMENT => run_worker(),
        Some(mode) if mode == ZYGOTE_ARGUMENT => run_zygote(),
        _ => ao_node::cli::run(),
    }
}
