//! Getting the data of an Arweave transaction piece by piece, each with the proof of its place; and giving pieces to
//! others.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ao_protocol::log::LogError;
use ao_protocol::reference::Named;
use ao_protocol::transaction::chunks::{self, MAX_CHUNK_BYTES};
use ao_protocol::wire::{DataPiece, Request, Response};
use futures::StreamExt;
use tokio::sync::OnceCell;
use tracing::debug;

use super::{Files, Lacking, Permaweb, World};
use crate::arweave::{Gateway, GatewayError};
use crate::net::PeerId;
use crate::store::{DataRoot, FilePiece};

/// Pieces that are asked for at once.
const AT_ONCE: usize = 8;
/// Pieces that are written before they are noted as here.
const NOTED_AT_ONCE: usize = 32;
/// Pieces that nobody gave after which it is given up for now.
const MAX_FAILURES: usize = 2 * AT_ONCE;
/// Smallest piece that is taken, but for the last one: the proofs of smaller ones would take more room than they.
const LEAST_PIECE_BYTES: u64 = 4096;
/// How long a peer may take for a piece; then others are asked.
const PIECE_LIMIT: Duration = Duration::from_secs(5);
/// How often a gateway is asked for a piece that is busy, and the time between.
const TRIES: usize = 4;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// A piece that was checked.
type Got = (Range<u64>, DataPiece);

/// Whoever may have the pieces.
struct Sources<'a> {
    world: &'a World,
    named: &'a Named,
    root: &'a DataRoot,
    /// Peers that do not have it, or gave something wrong.
    useless: Mutex<BTreeSet<PeerId>>,
    gateway: Option<&'a Gateway>,
    /// Where the data begins in the data of all transactions, as the gateway says.
    start: OnceCell<u64>,
    /// What went wrong last.
    failure: Mutex<String>,
}

impl Permaweb {
    /// Gets what is missing of a file.
    pub(super) async fn fetch_pieces(&self, world: &World, named: &Named, root: &DataRoot) -> Result<(), Lacking> {
        let (begin, begin_root, begin_named) = (world.clone(), *root, *named);
        let file = self.blocking(move |files| {
            let part = files.part(&begin_named);
            if !fs::exists(&part)? {
                begin.log().forget_pieces(&begin_root)?;
            }
            Ok(OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&part)?)
        });
        let file = Arc::new(file.await?);
        let sources = Sources {
            world,
            named,
            root,
            useless: Mutex::default(),
            gateway: self.gateway(),
            start: OnceCell::new(),
            failure: Mutex::default(),
        };
        loop {
            let missing = missing(world, root)?;
            if missing.is_empty() {
                break;
            }
            let nothing = missing.iter().map(|gap| gap.end - gap.start).sum::<u64>() == root.size;
            // Most data is cut like this; what is not, the next round gets.
            let offsets = missing.into_iter().flat_map(|gap| gap.step_by(MAX_CHUNK_BYTES));
            let asked = futures::stream::iter(offsets).map(|offset| sources.piece(offset));
            let mut pieces = std::pin::pin!(asked.buffer_unordered(AT_ONCE));
            let (mut got, mut any, mut failures) = (Vec::new(), false, 0);
            while let Some(piece) = pieces.next().await {
                match piece? {
                    Some(piece) => got.push(piece),
                    None => failures += 1,
                }
                if got.len() >= NOTED_AT_ONCE {
                    any = true;
                    self.note(world, root, &file, std::mem::take(&mut got)).await?;
                }
                if failures >= MAX_FAILURES {
                    break;
                }
            }
            any |= !got.is_empty();
            self.note(world, root, &file, got).await?;
            if !any {
                // Some gateways give data, and no pieces.
                if nothing
                    && let Some(gateway) = self.gateway()
                    && self.download(world, gateway, named).await?
                {
                    return Ok(());
                }
                return Err(Lacking::Nowhere(sources.failure()));
            }
        }
        // Whatever happened since its pieces were written.
        let (world, root, named) = (world.clone(), *root, *named);
        let finish = move |files: &Files| {
            if !are_on_disk(&world, &root, &file)? {
                files.remove(&named)?;
                world.log().forget_pieces(&root)?;
                return Err(Lacking::Nowhere("its file was damaged while it came; it is fetched again".into()));
            }
            Ok(files.finish(&named, &files.part(&named))?)
        };
        self.blocking(finish).await
    }

    /// Writes pieces, and notes them when they are on disk.
    async fn note(&self, world: &World, root: &DataRoot, file: &Arc<File>, got: Vec<Got>) -> Result<(), Lacking> {
        if got.is_empty() {
            return Ok(());
        }
        let (world, root, file) = (world.clone(), *root, file.clone());
        let write = move |_: &Files| {
            let mut noted = Vec::with_capacity(got.len());
            for (range, DataPiece { proof, bytes }) in got {
                file.write_all_at(&bytes, range.start)?;
                noted.push(FilePiece { range, proof });
            }
            file.sync_data()?;
            Ok(world.log().keep_pieces(&root, &noted)?)
        };
        self.blocking(write).await
    }
}

/// Which bytes of a file are not here.
fn missing(world: &World, root: &DataRoot) -> Result<Vec<Range<u64>>, LogError> {
    let (mut missing, mut at) = (Vec::new(), 0);
    while at < root.size {
        let pieces = world.log().pieces_from(root, at)?;
        let last = pieces.last().map(|piece| piece.range.end);
        for piece in pieces {
            if piece.range.start > at {
                missing.push(at..piece.range.start);
            }
            at = piece.range.end.max(at);
        }
        if last.is_none() {
            missing.push(at..root.size);
            break;
        }
    }
    Ok(missing)
}

/// Whether a file has all pieces of a root.
pub(super) fn are_on_disk(world: &World, root: &DataRoot, file: &File) -> Result<bool, Lacking> {
    let mut at = 0;
    let mut bytes = Vec::new();
    while at < root.size {
        let pieces = world.log().pieces_from(root, at)?;
        if pieces.is_empty() {
            return Ok(false);
        }
        for FilePiece { range, proof } in pieces {
            let size = range.end.saturating_sub(range.start).min(MAX_CHUNK_BYTES as u64);
            bytes.resize(size as usize, 0);
            let read = file.read_exact_at(&mut bytes, range.start);
            let proven = chunks::validate(&root.root, root.size, range.start, &proof, &bytes);
            if read.is_err() || range.start > at || proven != Ok(range.clone()) {
                return Ok(false);
            }
            at = range.end;
        }
    }
    Ok(true)
}

impl Sources<'_> {
    fn failure(&self) -> String {
        let said = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (said.is_empty(), self.gateway) {
            (false, _) => said,
            (true, Some(_)) => "neither peers nor the gateway have it".into(),
            (true, None) => "no peer has it, and this node has no gateway of Arweave to ask (--arweave)".into(),
        }
    }

    fn failed(&self, cause: &impl ToString) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = cause.to_string();
    }

    fn checked(&self, offset: u64, piece: DataPiece) -> Option<Got> {
        let DataRoot { root, size } = self.root;
        let range = chunks::validate(root, *size, offset, &piece.proof, &piece.bytes).ok()?;
        let bytes = range.end - range.start;
        let fits = bytes <= MAX_CHUNK_BYTES as u64 && (bytes >= LEAST_PIECE_BYTES || range.end == *size);
        fits.then_some((range, piece))
    }

    /// The piece that holds a byte; none when nobody gives it now.
    async fn piece(&self, offset: u64) -> Result<Option<Got>, LogError> {
        if let Some(piece) = held(self.world, self.root, offset)?
            && let Some(got) = self.checked(offset, piece)
        {
            return Ok(Some(got));
        }
        let DataRoot { root, size } = *self.root;
        let mut peers = self.world.net().directory().connected();
        // Each has its part of the work.
        let first = (offset / MAX_CHUNK_BYTES as u64) as usize % peers.len().max(1);
        peers.rotate_left(first);
        for peer in peers {
            if self.useless.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer) {
                continue;
            }
            let request = Request::Data { root, size, offset };
            let asked = self.world.net().request(&peer, &request);
            let got = match tokio::time::timeout(PIECE_LIMIT, asked).await {
                Ok(Ok(Response::Data(Some(piece)))) => self.checked(offset, piece),
                _ => None,
            };
            if got.is_some() {
                return Ok(got);
            }
            self.useless.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
        }
        let Some(gateway) = self.gateway else { return Ok(None) };
        for attempt in 1..=TRIES {
            match self.ask(gateway, offset).await {
                Ok(piece) => {
                    let got = self.checked(offset, piece);
                    if got.is_none() {
                        self.failed(&format!("{} gave a piece of other data", gateway.url()));
                    }
                    return Ok(got);
                }
                Err(cause) => {
                    debug!(%cause, "a piece of data did not come");
                    self.failed(&cause);
                    if !cause.passes() || attempt == TRIES {
                        break;
                    }
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
            }
        }
        Ok(None)
    }

    async fn ask(&self, gateway: &Gateway, offset: u64) -> Result<DataPiece, GatewayError> {
        let place = self.start.get_or_try_init(|| gateway.data_start(&self.named.id, self.named.size));
        gateway.chunk(place.await?.saturating_add(offset)).await
    }
}

/// A piece that this node has: as the chain that it plays, or in a file.
fn held(world: &World, root: &DataRoot, offset: u64) -> Result<Option<DataPiece>, LogError> {
    if let Some(chunk) = world.log().chunk(root, offset)? {
        return Ok(Some(DataPiece { proof: chunk.proof, bytes: chunk.data }));
    }
    Ok(None)
}

/// A piece for a peer that asks for it.
pub fn answer(world: &World, root: &DataRoot, offset: u64) -> Result<Option<DataPiece>, LogError> {
    if let Some(piece) = held(world, root, offset)? {
        return Ok(Some(piece));
    }
    let Some(FilePiece { range, proof }) = world.log().piece(root, offset)? else { return Ok(None) };
    let bytes = world.permaweb().read(root, range);
    Ok(bytes.ok().map(|bytes| DataPiece { proof, bytes }))
}

impl Permaweb {
    /// Bytes of a file, whether all of it is here or not.
    fn read(&self, root: &DataRoot, range: Range<u64>) -> io::Result<Vec<u8>> {
        let id = ao_protocol::id::Id::from([0; 32]);
        let named = Named { id, size: root.size, seal: ao_protocol::reference::Seal::Root(root.root) };
        let file = File::open(self.0.files.path(&named)).or_else(|_| File::open(self.0.files.part(&named)))?;
        let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }
}
