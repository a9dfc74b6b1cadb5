//! Finding documents: ranges of the index are joined by seeking, each to where another one stands, so that the work
//! follows the rarest term and not the number of documents. What has no index is looked at in the loaded document.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicUsize};

use ao_protocol::id::Id;
use ao_protocol::log::LogError;
use rocksdb::{DB, DBRawIteratorWithThreadMode, IteratorMode, PrefixRange, ReadOptions, SnapshotWithThreadMode};
use thiserror::Error;

use super::document::Document;
use super::query::{EVERYTHING, Filter, Position, bounds, order};
use super::schema::{self, Table, Term};
use super::{Store, database, decode};
use crate::arweave::Block;

/// Most documents that one request may look at.
pub const MAX_CANDIDATES: usize = 10_000;
/// Most seeks in the index that one request may make; a few hundred thousand take a second.
pub const MAX_SEEKS: usize = 200_000;

/// Why a search has no result.
#[derive(Debug, Error)]
pub enum SearchError {
    /// It would take too long.
    #[error(
        "this query is too costly: it looked at {MAX_CANDIDATES} items or {MAX_SEEKS} places of the index; \
         narrow it by an owner, a recipient, a tag that fewer items have, or a range of blocks"
    )]
    TooCostly,
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What a request has done so far, over all its searches.
#[derive(Debug, Default)]
pub struct Effort {
    candidates: AtomicUsize,
    seeks: AtomicUsize,
}

impl Effort {
    fn candidate(&self) -> Result<(), SearchError> {
        Effort::count(&self.candidates, MAX_CANDIDATES)
    }

    fn seek(&self) -> Result<(), SearchError> {
        Effort::count(&self.seeks, MAX_SEEKS)
    }

    fn count(counter: &AtomicUsize, limit: usize) -> Result<(), SearchError> {
        let before = counter.fetch_add(1, atomic::Ordering::Relaxed);
        if before < limit { Ok(()) } else { Err(SearchError::TooCostly) }
    }
}

/// A page to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The conditions.
    pub filter: Filter,
    /// From the highest position down, and not up.
    pub newest_first: bool,
    /// Only what comes behind this position.
    pub after: Option<Position>,
    /// Most documents of the page.
    pub limit: usize,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The documents, in order.
    pub documents: Vec<(Position, Document)>,
    /// Whether there is another one behind them.
    pub more: bool,
}

/// All positions of a term.
struct Range<'a> {
    term: Term,
    iterator: DBRawIteratorWithThreadMode<'a, DB>,
    at: At,
}

enum At {
    Start,
    Here(u128),
    End,
}

/// All positions of any of some terms.
struct Union<'a> {
    ranges: Vec<Range<'a>>,
    newest_first: bool,
}

impl Union<'_> {
    /// The first position that does not come before `wanted`. What is wanted never goes back.
    fn seek(&mut self, wanted: u128, effort: &Effort) -> Result<Option<u128>, SearchError> {
        let mut first: Option<u128> = None;
        for range in &mut self.ranges {
            let behind = match range.at {
                At::Start => true,
                At::Here(at) => order(at, wanted, self.newest_first) == Ordering::Less,
                At::End => false,
            };
            if behind {
                effort.seek()?;
                range.seek(wanted, self.newest_first)?;
            }
            if let At::Here(at) = range.at
                && first.is_none_or(|first| order(at, first, self.newest_first) == Ordering::Less)
            {
                first = Some(at);
            }
        }
        Ok(first)
    }
}

impl Range<'_> {
    fn seek(&mut self, wanted: u128, newest_first: bool) -> Result<(), LogError> {
        let key = schema::posting(&self.term, wanted);
        match newest_first {
            true => self.iterator.seek_for_prev(key),
            false => self.iterator.seek(key),
        }
        self.iterator.status().map_err(database)?;
        let place = self.iterator.key().and_then(|key| key.last_chunk::<16>());
        self.at = place.map_or(At::End, |place| At::Here(u128::from_be_bytes(*place)));
        Ok(())
    }
}

/// The first position from `wanted` on that all have.
fn join(unions: &mut [Union<'_>], mut wanted: u128, effort: &Effort) -> Result<Option<u128>, SearchError> {
    loop {
        let before = wanted;
        for union in unions.iter_mut() {
            let Some(found) = union.seek(wanted, effort)? else { return Ok(None) };
            wanted = found;
        }
        // The first one may have stood behind the others. A round that moves nothing is agreement, save for the first
        // round of one union, which is right wherever it ends.
        if wanted == before || unions.len() == 1 {
            return Ok(Some(wanted));
        }
    }
}

impl Store {
    /// Finds a page of documents as of now.
    pub fn search(&self, search: &Search, effort: &Effort) -> Result<Found, SearchError> {
        let mut found = Found { documents: Vec::new(), more: false };
        let newest_first = search.newest_first;
        let Some((start, end)) = bounds(search.filter.heights, newest_first, search.after) else { return Ok(found) };
        let snapshot = self.db.snapshot();
        let lists = search.filter.terms().into_iter();
        let unions = lists.map(|terms| {
            let ranges = terms.into_iter().map(|term| self.postings(&snapshot, term)).collect::<Result<_, _>>()?;
            Ok(Union { ranges, newest_first })
        });
        let mut unions: Vec<Union<'_>> = unions.collect::<Result<_, LogError>>()?;
        let mut wanted = Some(start);
        while let Some(from) = wanted {
            let Some(at) = join(&mut unions, from, effort)? else { break };
            if order(at, end, newest_first) == Ordering::Greater {
                break;
            }
            wanted = if newest_first { at.checked_sub(1) } else { at.checked_add(1) };
            effort.candidate()?;
            let position = Position::of_number(at);
            let Some(document) = self.at(&snapshot, at)? else { continue };
            if search.filter.matches(position, &document) {
                if found.documents.len() >= search.limit {
                    found.more = true;
                    break;
                }
                found.documents.push((position, document));
            }
        }
        Ok(found)
    }

    fn postings<'a>(&'a self, snapshot: &'a SnapshotWithThreadMode<'a, DB>, term: Term) -> Result<Range<'a>, LogError> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(PrefixRange(&term[..]));
        let iterator = snapshot.raw_iterator_cf_opt(self.table(Table::Postings)?, options);
        Ok(Range { term, iterator, at: At::Start })
    }

    fn at(&self, snapshot: &SnapshotWithThreadMode<'_, DB>, place: u128) -> Result<Option<Document>, LogError> {
        let key = schema::posting(&EVERYTHING, place);
        let id = snapshot.get_cf(self.table(Table::Postings)?, key).map_err(database)?;
        let id = id.and_then(|id| <[u8; 32]>::try_from(id).ok());
        id.map_or(Ok(None), |id| self.describe(&Id::from(id)))
    }

    /// A page of blocks between two heights, both included, and whether there is another one behind them.
    pub fn blocks(
        &self,
        heights: (u64, u64),
        newest_first: bool,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Block>, bool), LogError> {
        let (lowest, highest) = heights;
        let start = match (newest_first, after) {
            (true, None) => Some(highest),
            (true, Some(after)) => after.checked_sub(1).map(|start| start.min(highest)),
            (false, None) => Some(lowest),
            (false, Some(after)) => after.checked_add(1).map(|start| start.max(lowest)),
        };
        let Some(start) = start else { return Ok((Vec::new(), false)) };
        let direction = if newest_first { rocksdb::Direction::Reverse } else { rocksdb::Direction::Forward };
        let mode = start.to_be_bytes();
        let walk = self.db.iterator_cf(self.table(Table::Blocks)?, IteratorMode::From(&mode, direction));
        let mut blocks = Vec::new();
        for found in walk {
            let (key, value) = found.map_err(database)?;
            let block: Block = decode(Table::Blocks, &key, &value)?;
            if !(lowest..=highest).contains(&block.height) {
                break;
            }
            if blocks.len() >= limit {
                return Ok((blocks, true));
            }
            blocks.push(block);
        }
        Ok((blocks, false))
    }
}
