//! A compute unit that lies, as a process of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Result;
use ao_protocol::network::Network;

use crate::nodes::program;

/// A compute unit that lies, in an open network, until it is dropped.
pub struct Liar(Child);

impl Liar {
    /// Starts one that lies in this way, as `ao-byzantine-cu --lie` names it.
    pub fn start(lie: &str, data: &Path, join: &str) -> Liar {
        Liar::run(lie, data, join).unwrap_or_else(|cause| panic!("a liar does not start: {cause:#}"))
    }

    fn run(lie: &str, data: &Path, join: &str) -> Result<Liar> {
        std::fs::create_dir_all(data.join(lie))?;
        // That of a node which joins nobody.
        let network = data.join("network.json");
        std::fs::write(&network, Network::open("local").to_json())?;
        let mut command = Command::new(program().with_file_name("ao-byzantine-cu"));
        command.args(["--lie", lie, "--join", join, "--network"]).arg(&network).arg("--data").arg(data.join(lie));
        Ok(Liar(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?))
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
