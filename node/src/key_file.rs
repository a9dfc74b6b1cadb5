//! Wallet files: read with clear errors, written once, readable by their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use ao_protocol::wallet::Wallet;
use rand::Rng;

/// Reads a wallet file.
pub fn load(path: &Path) -> Result<Wallet> {
    let text = fs::read_to_string(path).with_context(|| format!("wallet file {} can't be read", path.display()))?;
    Wallet::from_jwk(&text).with_context(|| format!("wallet file {}", path.display()))
}

/// Reads a wallet file, or makes one with a new Ed25519 key; the flag says which.
pub fn load_or_create(path: &Path) -> Result<(Wallet, bool)> {
    if path.exists() {
        return Ok((load(path)?, false));
    }
    let wallet = Wallet::ed25519_from_seed(rand::rng().random());
    save_new(path, &wallet)?;
    Ok((wallet, true))
}

/// Writes a new wallet file; one that is there already is not touched.
pub fn save_new(path: &Path, wallet: &Wallet) -> Result<()> {
    let jwk = wallet.to_jwk().context("this kind of wallet has no file form")?;
    write_new(path, jwk.as_bytes()).with_context(|| format!("wallet file {} can't be written", path.display()))
}

/// Writes a secret to a new file that only its owner can read, and syncs it: it can't be made again.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A folder that can't be opened was just written to; syncing it is all that is left.
    if folder.as_os_str().is_empty() { Ok(()) } else { File::open(folder)?.sync_all() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ao_protocol::wallet::Signer;

    #[test]
    fn a_new_wallet_stays_the_same_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("wallet.json");
        let (made, new) = load_or_create(&path).unwrap();
        let (read, again) = load_or_create(&path).unwrap();
        assert!(new && !again);
        assert_eq!(made.address(), read.address());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(save_new(&path, &made).is_err(), "an existing file is not overwritten");
    }

    #[test]
    fn a_file_that_is_no_wallet_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wallet.json");
        fs::write(&path, "hello").unwrap();
        let cause = format!("{:#}", load(&path).unwrap_err());
        assert!(cause.contains("wallet.json") && cause.contains("JWK"), "{cause}");
    }
}
