//! What tests of Arweave share: schedulers that mirror, waiting until their log is there for good, restoring it, and
//! transactions with data of any size.

use std::io::{self, Read};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use ao_node::arweave::{Gateway, Status};
use ao_protocol::mirror::{LOG_BUNDLE, claimed_slots};
use ao_protocol::transaction::{Transaction, TransactionBuilder, chunks};
use ao_protocol::wallet::Wallet;
use serde_json::Value;

use crate::nodes::{Setup, TestNode, program, wait_for_async};

/// The file of the development wallet, which owns something on the dev chain.
pub const WALLET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testnet/dev-wallet.json");

/// How often [`landed`] waits: a large log takes its time.
const WAITS: usize = 4;

/// The development wallet.
///
/// # Panics
/// Never: it is one.
pub fn wallet() -> Wallet {
    Wallet::from_jwk(include_str!("../../testnet/dev-wallet.json")).unwrap_or_else(|cause| panic!("{cause}"))
}

/// Arguments of a node that mirrors to a gateway, in bundles of about so many bytes, at once.
pub fn mirror_arguments<'a>(gateway: &'a str, bytes: &'a str) -> Vec<&'a str> {
    let more = ["--arweave", gateway, "--arweave-wallet", WALLET, "--mirror-bytes", bytes];
    [&more[..], &["--mirror-seconds", "0", "--mirror-confirmations", "1"]].concat()
}

/// A scheduler that mirrors so, joined to a node.
pub fn mirroring(join: &str, gateway: &str, bytes: &str) -> TestNode {
    TestNode::start_with("su", Some(join), &mirror_arguments(gateway, bytes))
}

/// What a node says of its mirror; null when it does not answer.
pub async fn mirror(node: &TestNode) -> Value {
    node.get("/ao/mirror").await.map(|(_, mirror)| mirror).unwrap_or_default()
}

/// Waits until so many slots are on Arweave for good, and nothing else waits or is on its way.
///
/// # Panics
/// When it takes too long.
pub async fn landed(node: &TestNode, slots: u64) {
    let mut seen = Value::Null;
    for _ in 0..WAITS {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while tokio::time::Instant::now() < deadline {
            seen = mirror(node).await;
            let open = seen["bundles"].as_array().map_or(1, Vec::len);
            if seen["landed"]["slots"].as_u64() >= Some(slots) && open == 0 && seen["waiting"]["slots"] == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    panic!("waited in vain for {slots} slots on Arweave: {seen:#}");
}

/// In how many transactions each slot of a process is, and how many transactions there are.
/// Fails when the gateway can't say, or has slots that are not there.
pub async fn held(gateway: &str, process: &str, slots: usize) -> Result<(Vec<usize>, usize)> {
    let (client, mut held) = (Gateway::new(gateway)?, vec![0; slots]);
    let (mut transactions, mut after) = (0, None);
    loop {
        let page = client.find(&[("Type", LOG_BUNDLE), ("Process", process)], after.as_deref()).await?;
        for found in page.found {
            let (first, last) = claimed_slots(&found.tags, &process.parse()?).context("no slots are claimed")?;
            for times in held.get_mut(first as usize..=last as usize).context("slots that are not there")? {
                *times += 1;
            }
            transactions += 1;
        }
        after = page.next;
        if after.is_none() {
            return Ok((held, transactions));
        }
    }
}

/// The command that restores into a folder: `which` is `--process ID` or `--scheduler ADDRESS`.
pub fn restore_command(gateway: &str, which: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(program());
    command.args(["restore", "--arweave", gateway, "--json", "--data"]).arg(folder).args(which);
    command
}

/// Restores into a folder; what it says.
///
/// # Panics
/// When it says nothing that can be read.
pub fn restore(gateway: &str, which: &[&str], folder: &Path) -> Value {
    let output = restore_command(gateway, which, folder).output().unwrap_or_else(|cause| panic!("{cause}"));
    let text = String::from_utf8_lossy(&output.stdout).to_string();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// A compute unit on a folder, that knows nobody.
pub fn alone(folder: &Path, more: &[&str]) -> TestNode {
    TestNode::start_in("cu", None, more, Setup { data: Some(folder.to_path_buf()), ..Setup::default() })
}

/// The outcome chain of a process after a slot, once a node has computed it.
///
/// # Panics
/// When it takes too long.
pub async fn outcome_chain(node: &TestNode, process: &str, slot: usize) -> String {
    wait_for_async("the slot is computed", async || {
        let (_, shown) = node.get(&format!("/ao/slots/{process}/{slot}")).await.ok()?;
        shown["outcome_chain"].as_str().map(str::to_string)
    })
    .await
}

/// Data of any size that takes no memory: text of 32 bytes a line, each with its number.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    /// Bytes of it.
    pub size: u64,
    at: u64,
}

impl Lines {
    /// So many bytes.
    pub fn new(size: u64) -> Lines {
        Lines { size, at: 0 }
    }

    /// A line without its end.
    pub fn line(number: u64) -> String {
        format!("line {number:>14} of many....")
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() && self.at < self.size {
            let line = Lines::line(self.at / 32) + "\n";
            let left = &line.as_bytes()[(self.at % 32) as usize..];
            let count = left.len().min(buffer.len() - read).min((self.size - self.at) as usize);
            buffer[read..read + count].copy_from_slice(&left[..count]);
            (read, self.at) = (read + count, self.at + count as u64);
        }
        Ok(read)
    }
}

/// Posts a transaction without its data and waits until it is mined.
///
/// # Panics
/// When the gateway refuses it.
pub async fn post(gateway: &Gateway, lines: Lines) -> (Transaction, Vec<chunks::Chunk>) {
    let cut = chunks::split_from(&mut lines.clone(), lines.size).unwrap_or_else(|cause| panic!("{cause}"));
    let terms = gateway.terms(lines.size as usize).await.unwrap_or_else(|cause| panic!("{cause}"));
    let builder = TransactionBuilder { last_tx: terms.anchor, reward: terms.price, ..Default::default() };
    let signed = builder.sign_for(Some(cut.root), lines.size, &wallet());
    let transaction = signed.unwrap_or_else(|cause| panic!("{cause}"));
    gateway.post(&transaction).await.unwrap_or_else(|cause| panic!("{cause}"));
    wait_for_async("the transaction is mined", async || {
        matches!(gateway.status(&transaction.id).await, Ok(Status::Mined { .. })).then_some(())
    })
    .await;
    (transaction, cut.chunks)
}

/// The same with its data; the transaction's id.
///
/// # Panics
/// When the gateway refuses it.
pub async fn post_with_data(gateway: &Gateway, lines: Lines) -> String {
    let (transaction, cut) = post(gateway, lines).await;
    let mut data = lines;
    for chunk in cut {
        let mut piece = vec![0; (chunk.end - chunk.start) as usize];
        data.read_exact(&mut piece).unwrap_or_else(|cause| panic!("{cause}"));
        gateway.post_chunk(&transaction, &chunk, &piece).await.unwrap_or_else(|cause| panic!("{cause}"));
    }
    transaction.id.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_32_bytes_wherever_reading_begins() {
        let mut data = Vec::new();
        assert!(Lines::new(1000).read_to_end(&mut data).is_ok());
        assert_eq!((data.len(), data.get(64..95)), (1000, Some(Lines::line(2).as_bytes())));
    }
}
