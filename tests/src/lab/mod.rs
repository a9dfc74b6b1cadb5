//! A network of its own for real nodes: each in a network namespace, all joined by a hub in this process that loses,
//! delays and cuts what passes between them. Nothing in it can reach anything outside.
//!
//! It needs the right to make namespaces and TUN devices, as root has it; [`enter`] says where that is missing.

mod hub;
mod tun;

use std::process::{Child, Command, Stdio};

pub use hub::{Faults, Hub};

/// Set in the process that is inside.
const INSIDE: &str = "AO_INSIDE_LAB";

/// Runs a test inside a network namespace of its own, by running this test program once more. True in the process that
/// is inside: there the test goes on. False outside, when the test is done there, or can't be done on this machine.
///
/// # Panics
/// When the test failed inside.
pub fn enter(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let can = Command::new("unshare").args(["--net", "ip", "tuntap", "add", "dev", "probe", "mode", "tun"]).output();
    match can {
        Ok(output) if output.status.success() && std::path::Path::new("/dev/net/tun").exists() => {}
        Ok(output) => {
            let cause = String::from_utf8_lossy(&output.stderr).trim().to_string();
            println!("skipped: network namespaces need root and iproute2: {cause}");
            return false;
        }
        Err(cause) => {
            println!("skipped: network namespaces need unshare: {cause}");
            return false;
        }
    }
    let this = std::env::current_exe().unwrap_or_default();
    let mut inside = Command::new("unshare");
    inside.arg("--net").arg(this).args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
    assert!(inside.status().is_ok_and(|status| status.success()), "{test} failed in its network");
    false
}

/// A network namespace for one node, and its end at the hub. Ends with the value.
pub struct Host {
    keeper: Child,
    /// Its IP address.
    pub address: String,
}

impl Host {
    /// Makes a host with this number, 2 to 250, and joins it to the hub.
    pub fn new(hub: &Hub, number: u8) -> Host {
        let keeper = Command::new("unshare").args(["--net", "sleep", "3600"]).stdin(Stdio::null()).spawn();
        let keeper = keeper.unwrap_or_else(|cause| panic!("no namespace: {cause}"));
        let host = Host { address: hub::address(number), keeper };
        // The namespace is there once the keeper has left that of its parent.
        crate::nodes::wait_for("a network namespace", || {
            let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
            (namespace(&host.keeper.id().to_string())? != namespace("self")?).then_some(())
        });
        hub.join(number, Some(host.keeper.id()));
        host
    }

    /// What is put before a command so that it runs on this host.
    pub fn within(&self) -> Vec<String> {
        ["nsenter", "--net", "--target", &self.keeper.id().to_string(), "--"].map(str::to_string).to_vec()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
