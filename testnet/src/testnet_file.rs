//! `testnet.json`: what scripts and other tools read about a running network.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TestnetFile {
    pub(crate) gateway_url: String,
    pub(crate) graphql_url: String,
    pub(crate) mu_url: String,
    pub(crate) su_url: String,
    pub(crate) cu_url: String,
    /// Id of the built-in runtime's module.
    pub(crate) module: String,
    /// Address of the first scheduler.
    pub(crate) scheduler: String,
    /// Addresses of all messengers joined by commas: the value of a spawn's `Authority` tag.
    pub(crate) authority: String,
    /// Addresses of all compute units joined by commas.
    pub(crate) compute_authorities: String,
    /// An RSA-4096 key file, the development wallet.
    pub(crate) wallet: PathBuf,
    /// The network file.
    pub(crate) network: PathBuf,
    pub(crate) nodes: Vec<NodeEntry>,
}

/// One node of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeEntry {
    pub(crate) name: String,
    pub(crate) roles: Vec<String>,
    pub(crate) pid: u32,
    pub(crate) peer_id: String,
    pub(crate) multiaddr: String,
    pub(crate) http_url: String,
    pub(crate) address: String,
    pub(crate) data_dir: PathBuf,
}

impl TestnetFile {
    /// Where the file is in a network's folder.
    pub(crate) fn path(data: &Path) -> PathBuf {
        data.join("testnet.json")
    }

    /// Reads the file; none when there is none.
    pub(crate) fn read(data: &Path) -> Result<Option<TestnetFile>> {
        let path = TestnetFile::path(data);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
        serde_json::from_str(&text).map(Some).with_context(|| format!("{} is damaged; remove it", path.display()))
    }

    /// Writes the file.
    pub(crate) fn write(&self, data: &Path) -> Result<()> {
        let path = TestnetFile::path(data);
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))
    }

    /// The nodes of it that still run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &NodeEntry> {
        self.nodes.iter().filter(|node| node.runs())
    }
}

impl NodeEntry {
    /// Whether the process is still this node: a pid may be another program's by now.
    pub(crate) fn runs(&self) -> bool {
        let line = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let data = self.data_dir.display().to_string();
        let program = |argument: &&[u8]| argument.ends_with(b"ao-node") || argument.ends_with(b"ao-byzantine-cu");
        arguments.iter().any(program) && arguments.contains(&data.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: u32) -> NodeEntry {
        NodeEntry {
            name: "mu-1".into(),
            roles: vec!["mu".into()],
            pid,
            peer_id: "p".into(),
            multiaddr: "/ip4/127.0.0.1/tcp/1/p2p/p".into(),
            http_url: "http://127.0.0.1:1".into(),
            address: "a".into(),
            data_dir: "d".into(),
        }
    }

    #[test]
    fn another_program_with_the_pid_is_not_the_node() {
        assert!(!entry(std::process::id()).runs());
        assert!(!entry(u32::MAX).runs());
    }

    #[test]
    fn a_folder_without_a_network_is_no_error_and_a_damaged_file_is() {
        let folder = std::env::temp_dir().join(format!("ao-testnet-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(TestnetFile::read(&folder).unwrap().is_none());
        std::fs::write(TestnetFile::path(&folder), "{").unwrap();
        assert!(format!("{:#}", TestnetFile::read(&folder).unwrap_err()).contains("damaged"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
