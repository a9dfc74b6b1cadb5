//! `ao-testnet`, the program behind `testnet/up`: the guided tour with a compute unit killed at any moment, and a
//! network in the background that is stopped and goes on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use ao_tests::nodes::{DEADLINE, program};
use rand::Rng;
use serde_json::Value;

fn testnet() -> PathBuf {
    program().with_file_name("ao-testnet")
}

fn file(data: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(data.join("testnet.json")).unwrap()).unwrap()
}

fn pid(data: &Path, name: &str) -> u64 {
    let file = file(data);
    let node = file["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap();
    node["pid"].as_u64().unwrap()
}

/// Stops a network that a failed test leaves behind.
struct Down(PathBuf);

impl Drop for Down {
    fn drop(&mut self) {
        let _ = Command::new(testnet()).args(["down", "--data"]).arg(&self.0).stderr(Stdio::null()).status();
    }
}

/// Waits for the end of a command, so that one which hangs fails the test instead of stopping it.
fn run(program: &Path, arguments: &[&str], environment: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("AO_NODE").env_remove("AO_WALLET").envs(environment.iter().copied());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "{arguments:?} does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_string()
}

#[test]
fn the_tour_passes_whichever_compute_unit_is_killed_and_whenever() {
    for victim in ["cu-1", "cu-2"] {
        // The tour itself kills cu-3 in its step 6, so there is one unit left at times.
        let step = rand::rng().random_range(1..=6);
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("testnet");
        let mut command = Command::new(testnet());
        command.args(["up", "--demo", "--base-port", "0", "--data"]).arg(&data);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if line.starts_with(&format!("{step}. ")) {
                let killed = Command::new("kill").args(["-9", &pid(&data, victim).to_string()]).status().unwrap();
                assert!(killed.success());
            }
            printed.push_str(&line);
            printed.push('\n');
        }
        let status = child.wait().unwrap();
        assert!(status.success(), "{victim} killed in step {step}: {status}\n{printed}");
        for expected in ["All 9 steps verified", &format!("{victim} has all"), "cu-3 has all", "Inbox[#Inbox].Data"] {
            assert!(printed.contains(expected), "{expected} is missing\n{printed}");
        }
    }
}

#[test]
fn the_tour_passes_with_compute_units_that_lie_and_shows_that_they_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("testnet");
    let up = ["up", "--demo", "--base-port", "0", "--byzantine-cu", "2", "--data", data.to_str().unwrap()];
    let printed = text(&run(&testnet(), &up, &[]));
    for expected in
        ["All 10 steps verified", "liar-1 attested a wrong outcome", "liar-2 attested two outcomes", "it won 0 slots"]
    {
        assert!(printed.contains(expected), "{expected} is missing\n{printed}");
    }
    assert!(!printed.contains("first resolved by liar"), "{printed}");
}

#[test]
fn compute_units_that_lie_are_stopped_with_their_network() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("testnet");
    let data_text = data.to_str().unwrap();
    let up = ["up", "--detach", "--base-port", "0", "--cu", "1", "--byzantine-cu", "1", "--data", data_text];
    text(&run(&testnet(), &up, &[]));
    let liar = format!("/proc/{}/cmdline", pid(&data, "liar-1"));
    let runs = || !std::fs::read(&liar).unwrap_or_default().is_empty();
    assert!(runs());
    text(&run(&testnet(), &["down", "--data", data_text], &[]));
    assert!(!runs(), "it goes on without its network");
}

/// The nodes that run on a folder.
fn nodes_of(data: &Path) -> usize {
    let running = std::fs::read_dir("/proc").unwrap().flatten().filter(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("ao-node\0start") && line.contains(data.to_str().unwrap())
    });
    running.count()
}

#[test]
fn nothing_runs_on_when_a_network_can_not_start_or_is_stopped_midway() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("testnet");
    // The scheduler's port is taken when three nodes run already.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = (taken.local_addr().unwrap().port() - 3).to_string();
    let failed = run(&testnet(), &["up", "--detach", "--base-port", &base, "--data", data.to_str().unwrap()], &[]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert_eq!(nodes_of(&data), 0);

    let mut command = Command::new(testnet());
    command.args(["up", "--demo", "--base-port", "0", "--data"]).arg(&data);
    let mut tour = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(tour.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().starts_with("3. ") {}
    assert!(nodes_of(&data) > 3);
    assert!(Command::new("kill").args(["-INT", &tour.id().to_string()]).status().unwrap().success());
    lines.by_ref().for_each(drop);
    assert_eq!(tour.wait().unwrap().code(), Some(1));
    assert_eq!(nodes_of(&data), 0);
}

#[test]
fn a_network_in_the_background_is_stopped_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("testnet");
    let _stopped_at_the_end = Down(data.clone());
    let data_text = data.to_str().unwrap();
    let up = ["up", "--detach", "--base-port", "0", "--cu", "1", "--data", data_text];

    let printed = text(&run(&testnet(), &up, &[]));
    assert!(printed.contains("gateway") && printed.contains("Try next"), "{printed}");
    let first = file(&data);
    for field in ["gateway_url", "graphql_url", "mu_url", "su_url", "cu_url", "module", "scheduler", "authority"] {
        assert!(first[field].as_str().is_some_and(|value| !value.is_empty()), "{field}: {first}");
    }
    let jwk: Value =
        serde_json::from_str(&std::fs::read_to_string(first["wallet"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(jwk["kty"], "RSA");
    let again = run(&testnet(), &up, &[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("still running"), "{again:?}");

    let ao = |arguments: &[&str]| {
        let gateway = PathBuf::from(file(&data)["gateway_url"].as_str().unwrap());
        text(&run(&program(), arguments, &[("AO_NODE", &gateway), ("XDG_CONFIG_HOME", folder.path())]))
    };
    let process = ao(&["spawn", "--name", "neo"]);
    ao(&["eval", &process, "x = 42"]);

    text(&run(&testnet(), &["down", "--data", data_text], &[]));
    let pids: Vec<u64> = first["nodes"].as_array().unwrap().iter().map(|node| node["pid"].as_u64().unwrap()).collect();
    assert!(pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}/cmdline")).exists()
        || std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty()));
    assert!(!data.join("testnet.json").exists());

    text(&run(&testnet(), &up, &[]));
    assert_eq!(file(&data)["scheduler"], first["scheduler"], "unit wallets are kept");
    assert_eq!(ao(&["eval", &process, "x"]), "42");
    text(&run(&testnet(), &["down", "--data", data_text], &[]));
    let nothing = run(&testnet(), &["down", "--data", data_text], &[]);
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("no network runs"), "{nothing:?}");
}
