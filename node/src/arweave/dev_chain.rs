//! A chain that plays Arweave on a local network: it takes transactions and their data, mines blocks, and keeps who
//! owns what. What it acknowledged is on disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ao_protocol::id::{Address, Id};
use ao_protocol::log::LogError;
use ao_protocol::transaction::{Transaction, chunks};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use super::{Block, BlockId};
use crate::drive::{World, now_ms, room, unbundle};
use crate::store::{Account, DataRoot, Store, StoredChunk};

/// Largest data of one transaction, in bytes.
pub const MAX_DATA_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// Largest bundle that is taken apart, so that what is in it is found by its id.
pub const MAX_UNBUNDLED_BYTES: u64 = 256 * 1024 * 1024;
/// Blocks behind a block within which a transaction may name it as what came before, as on Arweave.
const ANCHOR_BLOCKS: u64 = 50;
/// Most blocks that one request may ask to be mined.
const MAX_MINED_AT_ONCE: u64 = 100;
/// Shortest time between two blocks that are mined because something waits.
const BUSY_BLOCK_TIME: Duration = Duration::from_secs(1);
/// Time between two blocks when nothing waits.
const IDLE_BLOCK_TIME: Duration = Duration::from_secs(30);
/// Who owns something from the beginning: the development wallet that comes with the testnet.
const DEVELOPMENT_ADDRESS: &str = "vVw4yfml-4FyI4y-FUea5v2Ebdbq5TRLLqeFVp2qX88";
/// What that wallet owns, in winston: a million AR.
const DEVELOPMENT_BALANCE: u128 = 1_000_000 * 1_000_000_000_000;
/// What storing 1000 bytes costs, in winston; the rate of arlocal.
const WINSTON_PER_KILOBYTE: u128 = 65_595_508;

/// What storing data costs, in winston.
pub fn price(bytes: u64) -> u128 {
    (u128::from(bytes) * WINSTON_PER_KILOBYTE + 500) / 1000
}

/// Why a transaction is not taken.
#[derive(Debug, Error)]
pub enum PostRefusal {
    /// It is known.
    #[error("Transaction already processed.")]
    Known,
    /// Its sender owns too little.
    #[error("wallet {owner} has {balance} winston; {needed} are needed")]
    Poor {
        /// Who.
        owner: Address,
        /// What there is.
        balance: u128,
        /// Quantity and reward.
        needed: u128,
    },
    /// It can't be taken as it is.
    #[error("{0}")]
    Wrong(String),
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Why a piece of data is not taken.
#[derive(Debug, Error)]
pub enum ChunkRefusal {
    /// No transaction has data of this root and size.
    #[error("data_root_not_found")]
    UnknownRoot,
    /// Its proof does not show its place.
    #[error("invalid_proof")]
    InvalidProof,
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The chain of this node. A handle; cloning is cheap.
#[derive(Clone)]
pub struct DevChain(Arc<Inner>);

struct Inner {
    world: World,
    /// Held while something is read and written back.
    turn: Mutex<()>,
    /// Told when something waits to be mined.
    waiting: Notify,
}

impl DevChain {
    /// Opens the chain, or begins it.
    pub fn open(world: World) -> Result<DevChain, LogError> {
        let store = world.log();
        let newest = match store.newest_block()? {
            Some(newest) => newest,
            None => {
                if let Ok(address) = DEVELOPMENT_ADDRESS.parse::<Address>() {
                    store.keep_accounts(&[(address, Account { balance: DEVELOPMENT_BALANCE, last_tx: None })])?;
                }
                let first = Block { height: 0, ..Block::none().next(now_ms() / 1000, Vec::new()) };
                store.keep_mined(&first)?;
                first
            }
        };
        world.mined(newest);
        let waiting = Notify::new();
        if !world.log().pending()?.is_empty() {
            waiting.notify_one();
        }
        Ok(DevChain(Arc::new(Inner { world, turn: Mutex::new(()), waiting })))
    }

    fn store(&self) -> &Store {
        self.0.world.log()
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        // What a turn guards is in the database, which is whole whenever a turn ends.
        self.0.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mines until the log fails.
    pub async fn run(self) {
        while self.0.world.goes_on(self.unpack_what_is_left().await).await {}
        let mut last = Instant::now();
        loop {
            tokio::select! {
                () = self.0.waiting.notified() => {}
                () = tokio::time::sleep_until(last + IDLE_BLOCK_TIME) => {}
            }
            tokio::time::sleep_until(last + BUSY_BLOCK_TIME).await;
            last = Instant::now();
            match self.mine(1).await {
                Ok(()) => {}
                // What waits for a block waits for the next; a block may be there whose bundles are not taken apart.
                Err(LogError::Full(cause)) => {
                    warn!(%cause, "no block is mined without room on the disk");
                    self.0.world.wait_for_room(room::MIN_FREE_BYTES_TO_FOLLOW).await;
                    while self.0.world.goes_on(self.unpack_what_is_left().await).await {}
                }
                Err(cause) => return self.0.world.fail(&cause),
            }
        }
    }

    async fn unpack_what_is_left(&self) -> Result<(), LogError> {
        let chain = self.clone();
        // It can't be joined when the node is stopping.
        tokio::task::spawn_blocking(move || chain.unpack_left()).await.unwrap_or(Ok(()))
    }

    /// Mines blocks now, at most [`MAX_MINED_AT_ONCE`]; the first takes what waits.
    pub async fn mine(&self, count: u64) -> Result<(), LogError> {
        let chain = self.clone();
        let mined = tokio::task::spawn_blocking(move || {
            for _ in 0..count.clamp(1, MAX_MINED_AT_ONCE) {
                let turn = chain.turn();
                let newest = chain.store().newest_block()?.unwrap_or_else(Block::none);
                let block = newest.next(now_ms() / 1000, chain.store().pending()?);
                chain.store().keep_mined(&block)?;
                drop(turn);
                chain.0.world.mined(block.clone());
                for id in &block.transactions {
                    chain.unpack(id)?;
                }
            }
            Ok(())
        });
        // It can't be joined when the node is stopping.
        mined.await.unwrap_or(Ok(()))
    }

    /// Takes a transaction apart, if it is a bundle, mined and whole.
    fn unpack(&self, id: &Id) -> Result<(), LogError> {
        let store = self.store();
        if !store.is_to_unpack(id)? {
            return Ok(());
        }
        let Some(posted) = store.transaction(id)?.filter(|posted| posted.height.is_some()) else { return Ok(()) };
        let data = match DataRoot::of(&posted.transaction) {
            Some(root) => store.chunked_data(&root)?,
            None => Some(Vec::new()),
        };
        let Some(data) = data else { return Ok(()) };
        unbundle::unpack(store, *id, &data)?;
        store.unpacked(id)
    }

    /// Takes apart what was left when the node ended.
    fn unpack_left(&self) -> Result<(), LogError> {
        let mut after = None;
        loop {
            let left = self.store().to_unpack(after.as_ref())?;
            let Some(last) = left.last() else { return Ok(()) };
            after = Some(*last);
            for id in &left {
                self.unpack(id)?;
            }
        }
    }

    /// Takes a verified transaction. Blocks: it is on disk when this returns.
    pub fn post(&self, transaction: &Transaction) -> Result<(), PostRefusal> {
        let turn = self.turn();
        let store = self.store();
        if store.transaction(&transaction.id)?.is_some() {
            return Err(PostRefusal::Known);
        }
        if transaction.data_size > MAX_DATA_BYTES {
            let text = format!("data of {} bytes; at most {MAX_DATA_BYTES} are taken", transaction.data_size);
            return Err(PostRefusal::Wrong(text));
        }
        let cost = price(transaction.data_size);
        if transaction.reward < cost {
            let text = format!("a reward of {} winston; storing this costs {cost}", transaction.reward);
            return Err(PostRefusal::Wrong(text));
        }
        if !self.is_anchor(&transaction.last_tx)? {
            return Err(PostRefusal::Wrong(
                "last_tx is none of the last 50 blocks and no transaction of this chain".into(),
            ));
        }
        let owner = transaction.owner_address();
        let mut sender = store.account(&owner)?;
        let balance = sender.balance;
        let needed = transaction.quantity.saturating_add(transaction.reward);
        sender.balance = balance.checked_sub(needed).ok_or(PostRefusal::Poor { owner, balance, needed })?;
        sender.last_tx = Some(transaction.id);
        let mut accounts = vec![(owner, sender)];
        match transaction.target {
            Some(target) if target == owner => accounts[0].1.balance += transaction.quantity,
            Some(target) => {
                let mut receiver = store.account(&target)?;
                receiver.balance = receiver.balance.saturating_add(transaction.quantity);
                accounts.push((target, receiver));
            }
            None => {}
        }
        let is_bundle = transaction.tag("Bundle-Format") == Some("binary")
            && transaction.tag("Bundle-Version") == Some("2.0.0")
            && transaction.data_size <= MAX_UNBUNDLED_BYTES;
        store.keep_transaction(transaction, &accounts, is_bundle)?;
        drop(turn);
        self.0.waiting.notify_one();
        Ok(())
    }

    /// Whether a transaction may name this as what came before it.
    fn is_anchor(&self, anchor: &[u8]) -> Result<bool, LogError> {
        if let Ok(block) = <[u8; 48]>::try_from(anchor) {
            let newest = self.store().newest_block()?.map_or(0, |newest| newest.height);
            let block = self.store().block_by_id(&BlockId(block))?;
            return Ok(block.is_some_and(|block| block.height.saturating_add(ANCHOR_BLOCKS) >= newest));
        }
        match <[u8; 32]>::try_from(anchor) {
            Ok(id) => Ok(self.store().transaction(&Id::from(id))?.is_some()),
            Err(_) => Ok(anchor.is_empty()),
        }
    }

    /// Takes a piece of a transaction's data. Blocks: it is on disk when this returns.
    pub fn take_chunk(&self, root: &DataRoot, offset: u64, proof: Vec<u8>, data: Vec<u8>) -> Result<(), ChunkRefusal> {
        let place = chunks::validate(&root.root, root.size, offset, &proof, &data);
        let range = place.map_err(|_| ChunkRefusal::InvalidProof)?;
        if !self.store().knows_root(root)? {
            return Err(ChunkRefusal::UnknownRoot);
        }
        let turn = self.turn();
        let whole = self.store().keep_chunk(root, &StoredChunk { range, proof, data })?;
        drop(turn);
        if whole {
            for id in self.store().to_unpack_of(root)? {
                self.unpack(&id)?;
            }
        }
        Ok(())
    }

    /// Gives an address more, as only a chain for development does; says what it owns then.
    pub fn mint(&self, address: &Address, winston: u128) -> Result<u128, LogError> {
        let _turn = self.turn();
        let mut account = self.store().account(address)?;
        account.balance = account.balance.saturating_add(winston);
        let balance = account.balance;
        self.store().keep_accounts(&[(*address, account)])?;
        Ok(balance)
    }
}

#[cfg(test)]
mod tests {
    use ao_protocol::wallet::{Signer, Wallet};

    use super::*;

    #[test]
    fn the_funded_address_is_that_of_the_development_wallet() {
        let wallet = Wallet::from_jwk(include_str!("../../../testnet/dev-wallet.json")).unwrap();
        assert_eq!(wallet.address().to_string(), DEVELOPMENT_ADDRESS);
    }

    #[test]
    fn prices_are_those_of_arlocal() {
        assert_eq!((price(0), price(1), price(1000), price(1_000_000)), (0, 65_596, 65_595_508, 65_595_508_000));
    }
}
