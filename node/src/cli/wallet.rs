//! `ao-node wallet`: makes and shows wallets.

use std::process::ExitCode;

use anyhow::Result;
use ao_protocol::wallet::{Signer, Wallet as Key};
use clap::{Args, Subcommand};
use rand::Rng;
use serde_json::json;

use super::{Signing, output};
use crate::key_file;

/// Make or show the wallet that signs what you send
#[derive(Debug, Args)]
pub(super) struct Wallet {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a new wallet; an existing file is never overwritten
    New {
        /// Make an RSA-4096 key, as Arweave and its JavaScript clients need, instead of Ed25519
        #[arg(long)]
        rsa: bool,
        #[command(flatten)]
        signing: Signing,
        /// Print JSON instead of text for people
        #[arg(long)]
        json: bool,
    },
    /// Show the address of a wallet
    Show {
        #[command(flatten)]
        signing: Signing,
        /// Print JSON instead of text for people
        #[arg(long)]
        json: bool,
    },
}

impl Wallet {
    pub(super) fn run(self) -> Result<ExitCode> {
        let (key, signing, as_json) = match self.action {
            Action::New { rsa, signing, json } => {
                let key = if rsa { Key::generate_rsa()? } else { Key::ed25519_from_seed(rand::rng().random()) };
                key_file::save_new(&signing.path()?, &key)?;
                (key, signing, json)
            }
            Action::Show { signing, json } => (key_file::load(&signing.path()?)?, signing, json),
        };
        let (address, path) = (key.signer_text(), signing.path()?.display().to_string());
        let kind = format!("{:?}", key.signature_type());
        match as_json {
            true => output::json(&json!({ "address": address, "kind": kind, "file": path })),
            false => println!("{address}\n{kind} key in {path}"),
        }
        Ok(ExitCode::SUCCESS)
    }
}
