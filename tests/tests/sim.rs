//! The simulation: many seeds, each a run of its own. A failing seed is printed and replays alone with `AO_SIM_SEED`.

use std::sync::atomic::{AtomicU64, Ordering};

use ao_tests::sim::{Sabotage, run};

/// Seeds in a normal run; `AO_SIM_SEEDS` overrides.
const SEEDS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn every_seed_ends_well() {
    if let Some(seed) = number("AO_SIM_SEED") {
        return run(seed, None).unwrap_or_else(|cause| panic!("seed {seed}: {cause}"));
    }
    let seeds = number("AO_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let worker = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return failures;
                }
                if let Err(cause) = run(seed, None) {
                    failures.push(format!("seed {seed}: {cause} (replay: AO_SIM_SEED={seed})"));
                }
            }
        };
        let count = std::thread::available_parallelism().map_or(2, usize::from);
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a run panicked")).collect()
    });
    assert!(failures.is_empty(), "{} of {seeds} seeds failed:\n{}", failures.len(), failures.join("\n"));
}

/// Each way to break the rules must break runs, or the checks could not fail.
fn is_noticed(sabotage: Sabotage) {
    let first = (0..40).find_map(|seed| Some((seed, run(seed, Some(sabotage)).err()?)));
    let (seed, cause) = first.unwrap_or_else(|| panic!("{sabotage:?} must break some run"));
    println!("{sabotage:?} breaks seed {seed}: {cause}");
}

#[test]
fn a_disk_that_does_not_sync_is_noticed() {
    is_noticed(Sabotage::LyingDisks);
}

#[test]
fn a_scheduler_that_does_not_look_for_what_it_has_is_noticed() {
    is_noticed(Sabotage::ForgetfulSchedulers);
}

#[test]
fn a_cursor_that_moves_too_early_is_noticed() {
    is_noticed(Sabotage::EarlyCursors);
}

#[test]
fn a_liar_whose_word_is_enough_is_noticed() {
    is_noticed(Sabotage::TrustedLiar);
}

#[test]
fn a_node_that_does_not_hear_of_resumes_is_noticed() {
    is_noticed(Sabotage::DeafFollower);
}

#[test]
fn a_scheduler_that_believes_forged_origins_is_noticed() {
    is_noticed(Sabotage::TrustedAttacker);
}
