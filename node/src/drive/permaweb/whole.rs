//! Getting data in one piece: that of items, which only their hash can check, and of transactions from gateways that
//! give no pieces.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use ao_protocol::id::{Digest, Id};
use ao_protocol::item::MAX_ITEM_BYTES;
use ao_protocol::reference::{MAX_REFERENCED_BYTES, Named, Reference, Seal, Sha384};
use ao_protocol::transaction::chunks::Chunk;
use sha2::Digest as _;
use tracing::debug;

use super::{Files, Lacking, Permaweb, World, standard_pieces};
use crate::arweave::{Gateway, ToldItem};
use crate::drive::lookup::{self, Found};
use crate::store::{DataRoot, FilePiece};

/// Bytes that are hashed at a time.
const BUFFER_BYTES: usize = 256 * 1024;

impl Permaweb {
    /// Gets the data of an item: from here or from peers if it is one that nodes hold, else from the gateway.
    pub(super) async fn fetch_item(&self, world: &World, named: &Named, hash: Sha384) -> Result<(), Lacking> {
        if named.size <= MAX_ITEM_BYTES as u64
            && let Found::Item(item) = lookup::item_or_on_arweave(world, &named.id).await?
            && Named::of_item(&item) == *named
        {
            let named = *named;
            let write = move |files: &Files| {
                let whole = files.whole(&named);
                std::fs::write(&whole, item.data())?;
                Ok(files.finish(&named, &whole)?)
            };
            return self.blocking(write).await;
        }
        let nowhere = |cause: &str| Lacking::Nowhere(format!("the data of item {}: {cause}", named.id));
        let Some(gateway) = self.gateway() else {
            return Err(nowhere("no peer has it, and this node has no gateway of Arweave to ask (--arweave)"));
        };
        match self.download(world, gateway, named).await? {
            true => Ok(()),
            false => Err(nowhere(&format!("{} gave other data than SHA-384 {hash} is of", gateway.url()))),
        }
    }

    /// Takes all of it from a gateway; false if that is not what it should be.
    pub(super) async fn download(&self, world: &World, gateway: &Gateway, named: &Named) -> Result<bool, Lacking> {
        let whole = self.0.files.whole(named);
        let mut file = File::create(&whole)?;
        let write = |bytes: &[u8]| file.write_all(bytes);
        if let Err(cause) = gateway.download(&named.id, named.size, write).await {
            std::fs::remove_file(&whole)?;
            return Err(Lacking::Nowhere(cause.to_string()));
        }
        drop(file);
        let (world, named) = (world.clone(), *named);
        let finish = move |files: &Files| {
            let whole = files.whole(&named);
            let intact = match named.seal {
                Seal::Sha384(hash) => has_hash(&whole, named.size, hash)?,
                Seal::Root(root) => {
                    let root = DataRoot { root, size: named.size };
                    let pieces = standard_pieces(&mut File::open(&whole)?, &root)?;
                    let noted = pieces.map(|pieces| {
                        let piece = |Chunk { start, end, proof }| FilePiece { range: start..end, proof };
                        pieces.into_iter().map(piece).collect::<Vec<_>>()
                    });
                    if let Some(noted) = &noted {
                        // Without this file what is noted is forgotten when it is fetched again.
                        std::fs::remove_file(files.part(&named))?;
                        world.log().forget_pieces(&root)?;
                        world.log().keep_pieces(&root, noted)?;
                    }
                    noted.is_some()
                }
            };
            match intact {
                true => files.finish(&named, &whole)?,
                false => {
                    debug!(id = %named.id, "a gateway gave other data");
                    std::fs::remove_file(&whole)?;
                }
            }
            Ok(intact)
        };
        self.blocking(finish).await
    }
}

impl Permaweb {
    /// What is known of an item that the gateway has and that is too large for nodes to hold: its data is fetched for
    /// its hash, and stays.
    pub(super) async fn large_item(&self, world: &World, id: &Id) -> Result<Option<Reference>, Lacking> {
        let Some(gateway) = self.gateway() else { return Ok(None) };
        let told = gateway.item(id).await.map_err(|cause| Lacking::Nowhere(cause.to_string()))?;
        let is_large = |told: &ToldItem| (MAX_ITEM_BYTES as u64..=MAX_REFERENCED_BYTES).contains(&told.size);
        match told.filter(|told| !told.heads.is_empty() && is_large(told)) {
            Some(told) => self.download_unsealed(world, id, &told).await.map(Some),
            None => Ok(None),
        }
    }

    async fn download_unsealed(&self, world: &World, id: &Id, told: &ToldItem) -> Result<Reference, Lacking> {
        let Some(gateway) = self.gateway() else { return Err(Lacking::Nowhere("there is no gateway".into())) };
        // Until its hash is known it goes by its id.
        let by_id = Named { id: *id, size: told.size, seal: Seal::Root(Digest::from(id.to_bytes())) };
        let turn = self.turn(&by_id);
        let _turn = turn.lock().await;
        let _room = self.reserve(world, &by_id)?;
        let whole = self.0.files.whole(&by_id);
        let mut file = File::create(&whole)?;
        let mut hasher = sha2::Sha384::new();
        let write = |bytes: &[u8]| {
            hasher.update(bytes);
            file.write_all(bytes)
        };
        if let Err(cause) = gateway.download(id, told.size, write).await {
            std::fs::remove_file(&whole)?;
            return Err(Lacking::Nowhere(cause.to_string()));
        }
        let hash = Sha384(hasher.finalize().into());
        let verified = |head: &Vec<u8>| Reference::of_head(head, told.size, hash).ok();
        let Some(reference) = told.heads.iter().find_map(verified).filter(|found| found.named().id == *id) else {
            std::fs::remove_file(&whole)?;
            return Err(Lacking::Nowhere(format!("{} gave an item that is not signed so", gateway.url())));
        };
        let named = reference.named();
        self.blocking(move |files| Ok(files.finish(&named, &whole)?)).await?;
        Ok(reference)
    }
}

/// Whether a file has so many bytes and this hash.
pub(super) fn has_hash(path: &Path, size: u64, hash: Sha384) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let (mut hasher, mut buffer) = (sha2::Sha384::new(), vec![0; BUFFER_BYTES]);
    let mut bytes = 0u64;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => {
                hasher.update(buffer.get(..read).unwrap_or_default());
                bytes += read as u64;
            }
        }
    }
    Ok(bytes == size && hasher.finalize().as_slice() == hash.0)
}
