//! The `ao-node` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A worker is the same program in another mode; it must branch off before there is any thread.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == ao_node::vm::WORKER_ARGUMENT) {
        ao_node::vm::run_worker();
    }
    ao_node::cli::run()
}
