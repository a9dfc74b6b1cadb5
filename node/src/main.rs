//! The `ao-node` executable.

fn main() {
    // A worker forks, which is sound only while the process has a single thread: before anything else.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == ao_node::vm::WORKER_ARGUMENT) {
        ao_node::vm::run_worker();
    }
}
