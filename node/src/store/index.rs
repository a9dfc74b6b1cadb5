//! The index: every document under each term that it is found by, in the order of its position.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use ao_protocol::id::Id;
use ao_protocol::log::{Log, LogError};
use rocksdb::{IteratorMode, WriteBatch};

use super::document::Document;
use super::query::{EVERYTHING, Position, carrier, terms_of};
use super::schema::{self, Place, SEQUENCE_KEY, Table};
use super::search::{Effort, SearchError};
use super::{Store, database};

/// One writer of the index at a time: it holds the next sequence, until its batch is written.
pub(super) struct Indexing<'a> {
    store: &'a Store,
    next: MutexGuard<'a, u64>,
    height: u64,
    new: HashMap<Id, Position>,
}

impl Indexing<'_> {
    /// The same at another height: that of a block which comes in the same batch.
    pub(super) fn at(self, height: u64) -> Self {
        Indexing { height, ..self }
    }

    /// Puts a document into the index; one that is in it stays where it is.
    pub(super) fn add(&mut self, batch: &mut WriteBatch, document: &Document) -> Result<Position, LogError> {
        let (position, new) = self.place(batch, &document.id)?;
        if new {
            let postings = self.store.table(Table::Postings)?;
            let number = position.to_number();
            batch.put_cf(postings, schema::posting(&EVERYTHING, number), document.id.as_ref());
            for term in terms_of(document) {
                batch.put_cf(postings, schema::posting(&term, number), []);
            }
        }
        Ok(position)
    }

    /// Adds to an indexed document where it was found.
    pub(super) fn add_carrier(&self, batch: &mut WriteBatch, position: Position, holder: &Id) -> Result<(), LogError> {
        let key = schema::posting(&carrier(holder), position.to_number());
        batch.put_cf(self.store.table(Table::Postings)?, key, []);
        Ok(())
    }

    /// Gives an id its position and nothing that it is found by; says whether it is new.
    pub(super) fn place(&mut self, batch: &mut WriteBatch, id: &Id) -> Result<(Position, bool), LogError> {
        if let Some(position) = self.new.get(id) {
            return Ok((*position, false));
        }
        if let Some(position) = self.store.read(Table::Positions, id.as_ref())? {
            return Ok((position, false));
        }
        let position = Position { height: self.height, sequence: *self.next };
        *self.next += 1;
        self.new.insert(*id, position);
        self.store.put(batch, Table::Positions, id.as_ref(), &position)?;
        batch.put(SEQUENCE_KEY, self.next.to_be_bytes());
        Ok((position, true))
    }
}

impl Store {
    /// Starts to index at the newest height. Nobody else does until the result is dropped, which must be after its
    /// batch was written: what is new is seen by the next.
    pub(super) fn indexing(&self) -> Result<Indexing<'_>, LogError> {
        let next = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: positions only go up.
        let height = self.newest_height()?;
        Ok(Indexing { store: self, next, height, new: HashMap::new() })
    }

    /// The sequence after the last one given.
    pub(super) fn next_sequence(&self) -> Result<u64, LogError> {
        let Some(bytes) = self.db.get(SEQUENCE_KEY).map_err(database)? else { return Ok(0) };
        let damaged = |_| LogError::Database("the sequence of the index is damaged".into());
        bytes.try_into().map(u64::from_be_bytes).map_err(damaged)
    }

    /// The height of the newest block that is known here; 0 where no chain is known.
    fn newest_height(&self) -> Result<u64, LogError> {
        let Some(found) = self.db.iterator_cf(self.table(Table::Blocks)?, IteratorMode::End).next() else {
            return Ok(0);
        };
        let (key, _) = found.map_err(database)?;
        Ok(key.first_chunk().map_or(0, |height| u64::from_be_bytes(*height)))
    }

    /// Indexes the next slots of a process, at most so many; says how many there were. Items are found by all that
    /// they say, assignments by id alone.
    pub fn index_next(&self, process: &Id, limit: usize) -> Result<usize, LogError> {
        let first: u64 = self.read(Table::Indexed, &schema::process(process))?.unwrap_or(0);
        let mut entries = Vec::new();
        for slot in (first..u64::MAX).take(limit) {
            let Some(entry) = self.entry(process, slot)? else { break };
            entries.push(entry);
        }
        if entries.is_empty() {
            return Ok(0);
        }
        let mut batch = WriteBatch::default();
        let mut indexing = self.indexing()?;
        for entry in &entries {
            // The item of a cron's firing is its assignment.
            if entry.assignment.statement.cron.is_none() {
                indexing.add(&mut batch, &Document::from(&entry.item))?;
            }
            indexing.place(&mut batch, &entry.assignment.id())?;
        }
        let next = first + entries.len() as u64;
        self.put(&mut batch, Table::Indexed, &schema::process(process), &next)?;
        self.db.write(batch).map_err(database)?;
        Ok(entries.len())
    }

    /// A document by its id, and where it stands. One that has no position yet gets it now.
    pub fn document(&self, id: &Id, effort: &Effort) -> Result<Option<(Position, Document)>, SearchError> {
        effort.candidate()?;
        let Some(document) = self.describe(id, effort)? else { return Ok(None) };
        if let Some(position) = self.read(Table::Positions, id.as_ref())? {
            return Ok(Some((position, document)));
        }
        let mut batch = WriteBatch::default();
        let mut indexing = self.indexing()?;
        let position = match self.read(Table::Items, id.as_ref())? {
            Some(Place::Assignment(..)) => indexing.place(&mut batch, id)?.0,
            _ => indexing.add(&mut batch, &document)?,
        };
        self.db.write(batch).map_err(database)?;
        Ok(Some((position, document)))
    }

    /// What is known of an id.
    pub(super) fn describe(&self, id: &Id, effort: &Effort) -> Result<Option<Document>, SearchError> {
        let Some(item) = self.item(id)? else {
            let mined = self.transaction(id)?.filter(|posted| posted.height.is_some());
            return Ok(mined.map(|posted| Document::from(&posted.transaction)));
        };
        effort.read(item.bytes().len())?;
        Ok(Some(Document { bundled_in: self.bundled_in(id)?, ..Document::from(&item) }))
    }
}
