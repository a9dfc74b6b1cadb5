//! What the user says about the mirror of a node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use ao_protocol::item::SignatureType;
use ao_protocol::wallet::{Signer, Wallet};
use clap::Args;

use crate::arweave::Gateway;
use crate::drive::mirror::{
    BATCH_BYTES, BATCH_TIME, CHECKPOINT_SLOTS, CONFIRMATIONS, MAX_BATCH_BYTES, MAX_PRICE, Settings,
};
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
    /// Let a bundler put the log on Arweave, such as https://upload.ardrive.io: it takes items signed by the wallet, or
    /// without --arweave-wallet by the unit's own, and charges who signs them. The gateway is asked whether they came
    #[arg(long, value_name = "URL", value_parser = gateway, requires = "arweave")]
    bundler: Option<Gateway>,
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
    /// Slots of a process after which a checkpoint of it goes to Arweave, too; 0: never
    #[arg(long, value_name = "SLOTS", default_value_t = CHECKPOINT_SLOTS)]
    mirror_checkpoint_slots: u64,
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

    /// How to mirror; none if nothing is mirrored. `unit` gives the unit wallet.
    pub(super) fn settings(self, unit: impl FnOnce() -> Result<Wallet>) -> Result<Option<Settings>> {
        let (Some(gateway), bundler) = (self.arweave, self.bundler) else { return Ok(None) };
        let wallet = match (&self.arweave_wallet, &bundler) {
            (Some(path), _) => key_file::load(path)?,
            (None, Some(_)) => unit()?,
            (None, None) => return Ok(None),
        };
        if bundler.is_none() && wallet.signature_type() != SignatureType::Arweave {
            let path = self.arweave_wallet.unwrap_or_default();
            bail!("{}: transactions are paid by RSA wallets, and this one is of another kind", path.display());
        }
        let batch_time = Duration::from_secs(self.mirror_seconds);
        Ok(Some(Settings {
            gateway,
            bundler,
            wallet: Arc::new(wallet),
            batch_bytes: self.mirror_bytes,
            batch_time,
            confirmations: self.mirror_confirmations,
            max_price: self.mirror_max_price,
            checkpoint_slots: (self.mirror_checkpoint_slots > 0).then_some(self.mirror_checkpoint_slots),
        }))
    }
}
