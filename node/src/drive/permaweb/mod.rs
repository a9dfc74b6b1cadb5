//! Data of the permaweb that processes read: what a scheduler looks up before it gives a slot ([`prepare`]), and how a
//! compute unit gets the bytes ([`fetch`](Permaweb::fetch)): from peers, and from a gateway of Arweave if this node has
//! one. Whoever sends them is not believed: pieces are checked against the merkle root, whole items against their hash.

mod chain;
mod files;
mod pieces;
mod prepare;
mod whole;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ao_protocol::log::LogError;
use ao_protocol::reference::{Named, Seal};
use ao_protocol::transaction::chunks;
use thiserror::Error;
use tokio::sync::Mutex as AsyncMutex;
use tracing::{info, warn};

use super::World;
use crate::arweave::Gateway;
use crate::store::DataRoot;
use crate::vm::DataSource;
use files::{Files, Reservation};
use prepare::Lookups;

pub use chain::{Looked, transaction};
pub use pieces::answer;
pub use prepare::{submit, submit_gossiped};

/// Most bytes of data for processes that a node keeps, unless it is told otherwise.
pub const DATA_BYTES: u64 = 16 * 1024 * 1024 * 1024;

/// Why data is not here.
#[derive(Debug, Error)]
pub enum Lacking {
    /// Nobody who was asked gave it.
    #[error("{0}")]
    Nowhere(String),
    /// The disk failed, or has no room.
    #[error("{0}")]
    Disk(String),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<io::Error> for Lacking {
    fn from(cause: io::Error) -> Lacking {
        Lacking::Disk(format!("its file can't be written: {cause}"))
    }
}

/// The data that a node holds for processes. Cloning is cheap.
#[derive(Clone)]
pub struct Permaweb(Arc<Inner>);

struct Inner {
    files: Files,
    gateway: Option<Gateway>,
    /// What is being fetched.
    fetching: Mutex<BTreeMap<String, Arc<AsyncMutex<()>>>>,
    /// What a scheduler looked up.
    lookups: Lookups,
}

impl Permaweb {
    /// Keeps data in a folder, at most so many bytes, and gets it from a gateway as well as from peers if there is one.
    pub fn open(folder: PathBuf, limit: u64, gateway: Option<Gateway>) -> io::Result<Permaweb> {
        Ok(Permaweb(Arc::new(Inner {
            files: Files::open(folder, limit)?,
            gateway,
            fetching: Mutex::default(),
            lookups: Lookups::default(),
        })))
    }

    /// The gateway, if there is one.
    pub fn gateway(&self) -> Option<&Gateway> {
        self.0.gateway.as_ref()
    }

    /// Bytes of data that are kept.
    pub fn bytes(&self) -> u64 {
        self.0.files.bytes()
    }

    /// One at a time fetches some data.
    fn turn(&self, named: &Named) -> Arc<AsyncMutex<()>> {
        let mut fetching = self.0.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.retain(|_, turn| Arc::strong_count(turn) > 1);
        fetching.entry(files::name(named)).or_default().clone()
    }

    /// Whether somebody fetches it.
    pub fn is_fetching(&self, named: &Named) -> bool {
        self.turn(named).try_lock().is_err()
    }

    /// Does what may block beside the tasks that serve requests.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, Lacking> + Send + 'static,
    ) -> Result<T, Lacking> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&this.0.files)).await;
        done.unwrap_or_else(|_| Err(Lacking::Nowhere("the node is stopping".into())))
    }

    /// Reserves room on the disk.
    fn reserve(&self, world: &World, named: &Named) -> Result<Reservation<'_>, Lacking> {
        let (room, roots) = self.0.files.reserve(named).map_err(Lacking::Disk)?;
        // Their bytes are gone.
        roots.iter().try_for_each(|root| world.log().forget_pieces(root))?;
        Ok(room)
    }

    /// Gets all bytes of data, so that [`DataSource::open`] has them. Pieces that came before a failure stay. Goes on
    /// to the end, also when nobody waits for it any more.
    pub async fn fetch(&self, world: &World, named: &Named) -> Result<(), Lacking> {
        let (this, world, named) = (self.clone(), world.clone(), *named);
        let fetched = tokio::spawn(async move { this.fetch_in_turn(&world, &named).await });
        fetched.await.unwrap_or_else(|_| Err(Lacking::Nowhere("the node is stopping".into())))
    }

    async fn fetch_in_turn(&self, world: &World, named: &Named) -> Result<(), Lacking> {
        let turn = self.turn(named);
        let _turn = turn.lock().await;
        if self.0.files.get(named).is_some() || self.check(world, named).await? {
            return Ok(());
        }
        let _room = self.reserve(world, named)?;
        match named.seal {
            Seal::Root(root) => self.fetch_pieces(world, named, &DataRoot { root, size: named.size }).await?,
            Seal::Sha384(hash) => self.fetch_item(world, named, hash).await?,
        }
        info!(id = %named.id, bytes = named.size, "data that a process reads is here");
        Ok(())
    }

    /// Whether the file is on disk from before this node started, and is what it should be; else it is removed.
    async fn check(&self, world: &World, named: &Named) -> Result<bool, Lacking> {
        let (world, named) = (world.clone(), *named);
        let check = move |files: &Files| {
            let path = files.path(&named);
            if !fs::exists(&path)? {
                return Ok(false);
            }
            let length = fs::metadata(&path)?.len();
            let intact = length == named.size
                && match named.seal {
                    Seal::Root(root) => {
                        pieces::are_on_disk(&world, &DataRoot { root, size: named.size }, &File::open(&path)?)?
                    }
                    Seal::Sha384(hash) => whole::has_hash(&path, named.size, hash)?,
                };
            if intact {
                files.is_checked(&named);
            } else {
                warn!(file = %path.display(), "a data file was damaged on disk; it is fetched again");
                files.remove(&named)?;
                if let Seal::Root(root) = named.seal {
                    world.log().forget_pieces(&DataRoot { root, size: named.size })?;
                }
            }
            Ok(intact)
        };
        self.blocking(check).await
    }
}

impl DataSource for Permaweb {
    fn open(&self, named: &Named) -> Option<File> {
        self.0.files.open(named)
    }
}

/// Whether pieces of the standard cut of a file make up a root; gives them then.
fn standard_pieces(file: &mut File, root: &DataRoot) -> io::Result<Option<Vec<chunks::Chunk>>> {
    let chunks = chunks::split_from(&mut io::BufReader::new(file), root.size)?;
    Ok((chunks.root == root.root).then_some(chunks.chunks))
}
