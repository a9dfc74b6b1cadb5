//! What the user says about the mirror of a node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use ao_protocol::item::SignatureType;
use ao_protocol::wallet::Signer;
use clap::Args;

use crate::arweave::Gateway;
use crate::drive::mirror::{BATCH_BYTES, BATCH_TIME, CONFIRMATIONS, MAX_BATCH_BYTES, MAX_PRICE, Settings};
use crate::key_file;

/// Where the log is put on Arweave, and who pays.
#[derive(Debug, Args)]
#[command(next_help_heading = "Arweave")]
pub(super) struct Mirroring {
    /// A gateway of Arweave, such as https://arweave.net: for data that processes read, and to mirror to
    #[arg(long, value_name = "URL", value_parser = gateway)]
    arweave: Option<Gateway>,
    /// Put the log on Arweave and pay with this wallet (JWK, RSA-4096). Schedulers mirror what they schedule, other
    /// nodes all that they follow
    #[arg(long, value_name = "FILE", requires = "arweave")]
    arweave_wallet: Option<PathBuf>,
    /// Bytes of log after which a bundle is posted
    #[arg(long, value_name = "BYTES", default_value_t = BATCH_BYTES, value_parser = bytes)]
    mirror_bytes: usize,
    /// Seconds that a slot waits for others to go with it, at most
    #[arg(long, value_name = "SECONDS", default_value_t = BATCH_TIME.as_secs())]
    mirror_seconds: u64,
    /// Blocks after which a bundle counts as there for good, if it can be read back
    #[arg(long, value_name = "BLOCKS", default_value_t = CONFIRMATIONS, value_parser = clap::value_parser!(u64).range(1..))]
    mirror_confirmations: u64,
    /// The most that is paid for a byte
    #[arg(long, value_name = "WINSTON", default_value_t = MAX_PRICE)]
    mirror_max_price: u128,
}

pub(super) fn gateway(text: &str) -> Result<Gateway, String> {
    Gateway::new(text).map_err(|cause| cause.to_string())
}

fn bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (1..=MAX_BATCH_BYTES).contains(&bytes) => Ok(bytes),
        _ => Err(format!("a number from 1 to {MAX_BATCH_BYTES}")),
    }
}

impl Mirroring {
    /// The gateway, also when nothing is mirrored.
    pub(super) fn gateway(&self) -> Option<Gateway> {
        self.arweave.clone()
    }

    /// How to mirror; none if nothing is mirrored.
    pub(super) fn settings(self) -> Result<Option<Settings>> {
        let (Some(gateway), Some(path)) = (self.arweave, self.arweave_wallet) else { return Ok(None) };
        let wallet = key_file::load(&path)?;
        if wallet.signature_type() != SignatureType::Arweave {
            bail!("{}: transactions are paid by RSA wallets, and this one is of another kind", path.display());
        }
        let batch_time = Duration::from_secs(self.mirror_seconds);
        Ok(Some(Settings {
            gateway,
            wallet: Arc::new(wallet),
            batch_bytes: self.mirror_bytes,
            batch_time,
            confirmations: self.mirror_confirmations,
            max_price: self.mirror_max_price,
        }))
    }
}
