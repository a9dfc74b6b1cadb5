//! Peers: their ids, and this node's own peer key, which is kept in a file.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

use libp2p::identity::Keypair;

use super::error::NetError;

/// Largest peer key file in bytes.
const MAX_KEY_BYTES: u64 = 4096;

/// The name of a peer: the hash of its peer key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(libp2p::PeerId);

impl PeerId {
    pub(super) fn inner(&self) -> libp2p::PeerId {
        self.0
    }
}

impl From<libp2p::PeerId> for PeerId {
    fn from(inner: libp2p::PeerId) -> PeerId {
        PeerId(inner)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PeerId {
    type Err = NetError;

    fn from_str(text: &str) -> Result<PeerId, NetError> {
        let wrong = |cause: libp2p::identity::ParseError| NetError::PeerId {
            text: text.chars().take(128).collect(),
            cause: cause.to_string(),
        };
        text.parse().map(PeerId).map_err(wrong)
    }
}

/// The private key that a peer id stands for. It never shows in `Debug`.
#[derive(Clone)]
pub struct PeerKey(Keypair);

impl PeerKey {
    /// A new key from the system's randomness, kept nowhere.
    pub fn generate() -> PeerKey {
        PeerKey(Keypair::generate_ed25519())
    }

    /// Reads the key from its file; makes both when there is no such file. The file is libp2p's protobuf encoding of
    /// the key pair, readable by its owner only and synced before this returns.
    pub fn load_or_create(path: &Path) -> Result<PeerKey, NetError> {
        let failed = |cause: String| NetError::Key { path: path.display().to_string(), cause };
        match read(path) {
            Ok(bytes) => Keypair::from_protobuf_encoding(&bytes).map(PeerKey).map_err(|cause| {
                failed(format!("not a peer key ({cause}); remove the file to get a new key and with it a new peer id"))
            }),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let key = PeerKey::generate();
                let bytes = key.0.to_protobuf_encoding().map_err(|cause| failed(cause.to_string()))?;
                create(path, &bytes).map_err(|cause| failed(format!("can't be written: {cause}")))?;
                Ok(key)
            }
            Err(cause) => Err(failed(format!("can't be read: {cause}"))),
        }
    }

    /// The peer id.
    pub fn peer_id(&self) -> PeerId {
        PeerId(self.0.public().to_peer_id())
    }

    pub(super) fn into_inner(self) -> Keypair {
        self.0
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerKey({})", self.peer_id())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > MAX_KEY_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes are too many")));
    }
    fs::read(path)
}

/// Written beside, synced, then renamed: a crash leaves the whole key or none.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.key");
        let first = PeerKey::load_or_create(&path).unwrap();
        let second = PeerKey::load_or_create(&path).unwrap();
        assert_eq!(first.peer_id(), second.peer_id());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(format!("{first:?}"), format!("PeerKey({})", first.peer_id()));
    }

    #[test]
    fn a_file_that_is_no_key_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.key");
        fs::write(&path, "hello").unwrap();
        let cause = PeerKey::load_or_create(&path).unwrap_err().to_string();
        assert!(cause.contains("peer.key") && cause.contains("not a peer key"), "{cause}");
        assert_eq!(fs::read(&path).unwrap(), b"hello");
    }

    #[test]
    fn peer_ids_are_text() {
        let id = PeerKey::generate().peer_id();
        assert_eq!(id.to_string().parse::<PeerId>().unwrap(), id);
        assert!("hello".parse::<PeerId>().is_err());
    }
}
