//! Finding documents: ranges of the index are joined by seeking, each to where another one stands, so that the work
//! follows the rarest term and not the number of documents. What has no index is looked at in the loaded document.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicUsize};

use ao_protocol::id::Id;
use ao_protocol::item::MAX_ITEM_BYTES;
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
/// Most bytes of items that one request may have read: a page of the largest ones.
pub const MAX_READ_BYTES: usize = 100 * MAX_ITEM_BYTES;
/// Most seeks in the index that one request may make; a few hundred thousand take a second.
pub const MAX_SEEKS: usize = 200_000;

/// Why a search has no result.
#[derive(Debug, Error)]
pub enum SearchError {
    /// It would take too long.
    #[error(
        "this query is too costly: it looked at {MAX_CANDIDATES} items, {MAX_READ_BYTES} bytes of them or {MAX_SEEKS} \
         places of the index; narrow it by an owner, a recipient, a tag that fewer items have, or a range of blocks"
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
    bytes: AtomicUsize,
    seeks: AtomicUsize,
}

impl Effort {
    pub(super) fn candidate(&self) -> Result<(), SearchError> {
        Effort::count(&self.candidates, 1, MAX_CANDIDATES)
    }

    pub(super) fn read(&self, bytes: usize) -> Result<(), SearchError> {
        Effort::count(&self.bytes, bytes, MAX_READ_BYTES)
    }

    fn seek(&self) -> Result<(), SearchError> {
        Effort::count(&self.seeks, 1, MAX_SEEKS)
    }

    fn count(counter: &AtomicUsize, more: usize, limit: usize) -> Result<(), SearchError> {
        let before = counter.fetch_add(more, atomic::Ordering::Relaxed);
        if before.saturating_add(more) <= limit { Ok(()) } else { Err(SearchError::TooCostly) }
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
            let Some(document) = self.at(&snapshot, at, effort)? else { continue };
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

    fn at(
        &self,
        snapshot: &SnapshotWithThreadMode<'_, DB>,
        place: u128,
        effort: &Effort,
    ) -> Result<Option<Document>, SearchError> {
        let key = schema::posting(&EVERYTHING, place);
        let id = snapshot.get_cf(self.table(Table::Postings)?, key).map_err(database)?;
        let id = id.and_then(|id| <[u8; 32]>::try_from(id).ok());
        id.map_or(Ok(None), |id| self.describe(&Id::from(id), effort))
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use ao_protocol::item::ItemBuilder;
    use ao_protocol::log::{Batch, Durability, Log, Write};
    use ao_protocol::wallet::{Signer, Wallet};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::arweave::BlockId;
    use crate::store::TagCondition;

    static WALLETS: LazyLock<[Wallet; 3]> = LazyLock::new(|| {
        let ethereum = Wallet::ethereum_from_secret([3; 32]).unwrap();
        [Wallet::ed25519_from_seed([1; 32]), Wallet::ed25519_from_seed([2; 32]), ethereum]
    });

    /// An item in few words, so that many are alike.
    #[derive(Clone, Debug)]
    struct Words {
        signer: usize,
        recipient: u8,
        tags: Vec<(u8, u8)>,
        blocks_before: u64,
        carrier: u8,
        height: u64,
    }

    /// A query in the same words.
    #[derive(Clone, Debug)]
    struct Asked {
        signers: Vec<(usize, bool)>,
        recipients: Vec<u8>,
        tags: Vec<(u8, Vec<u8>, bool)>,
        carriers: Vec<u8>,
        heights: Option<(u64, u64)>,
        newest_first: bool,
        page: usize,
    }

    fn words() -> impl Strategy<Value = Words> {
        let tags = vec((0..2u8, 0..3u8), 0..4);
        (0..3usize, 0..3u8, tags, prop_oneof![3 => Just(0), 1 => 1..3u64], 0..4u8).prop_map(
            |(signer, recipient, tags, blocks_before, carrier)| Words {
                signer,
                recipient,
                tags,
                blocks_before,
                carrier,
                height: 0,
            },
        )
    }

    fn asked() -> impl Strategy<Value = Asked> {
        let rarely = |strategy: BoxedStrategy<Vec<u8>>| prop_oneof![2 => Just(vec![]), 1 => strategy];
        let tags = vec((0..2u8, vec(0..4u8, 0..3), any::<bool>()), 0..3);
        let heights = prop_oneof![2 => Just(None), 1 => (0..20u64, 0..20u64).prop_map(Some)];
        let signers = prop_oneof![Just(vec![]), vec((0..3usize, any::<bool>()), 1..3)];
        let recipients = rarely(vec(0..4u8, 1..3).boxed());
        let carriers = rarely(vec(0..3u8, 1..3).boxed());
        (signers, recipients, tags, carriers, heights, any::<bool>(), 1..8usize).prop_map(
            |(signers, recipients, tags, carriers, heights, newest_first, page)| Asked {
                signers,
                recipients,
                tags,
                carriers,
                heights,
                newest_first,
                page,
            },
        )
    }

    fn name(tag: u8) -> String {
        format!("Name-{tag}")
    }

    fn id(kind: u8, of: u8) -> Id {
        Id::from([kind + of; 32])
    }

    /// What is asked, read plainly; recipient and carrier 0 are none.
    fn fits(words: &Words, asked: &Asked) -> bool {
        let tag = |(name, values, negated): &(u8, Vec<u8>, bool)| {
            words.tags.iter().any(|(has, value)| has == name && values.contains(value)) != *negated
        };
        (asked.signers.is_empty() || asked.signers.iter().any(|(signer, _)| *signer == words.signer))
            && (asked.recipients.is_empty() || words.recipient > 0 && asked.recipients.contains(&words.recipient))
            && (asked.carriers.is_empty() || words.carrier > 0 && asked.carriers.contains(&words.carrier))
            && asked.tags.iter().all(tag)
            && asked.heights.is_none_or(|(min, max)| min <= words.height && words.height <= max)
    }

    fn filter(asked: &Asked) -> Filter {
        let owner = |(signer, ethereum): &(usize, bool)| match ethereum {
            true => WALLETS[*signer].signer_text(),
            false => WALLETS[*signer].address().to_string(),
        };
        let tag = |(tag, values, negated): &(u8, Vec<u8>, bool)| TagCondition {
            name: name(*tag),
            values: values.iter().map(u8::to_string).collect(),
            negated: *negated,
        };
        Filter {
            owners: asked.signers.iter().map(owner).collect(),
            recipients: asked.recipients.iter().map(|recipient| id(100, *recipient).to_string()).collect(),
            tags: asked.tags.iter().map(tag).collect(),
            bundled_in: asked.carriers.iter().map(|carrier| id(200, *carrier)).collect(),
            heights: asked.heights.unwrap_or((0, u64::MAX)),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn all_pages_together_are_what_a_plain_look_at_every_item_gives(
            mut items in vec(words(), 1..60),
            queries in vec(asked(), 1..12),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut store = Store::open(folder.path()).unwrap();
            let mut ids = Vec::new();
            let (mut height, half) = (0, items.len() / 2);
            for (number, words) in items.iter_mut().enumerate() {
                if words.blocks_before > 0 {
                    height += words.blocks_before;
                    let block = Block { height, id: BlockId([height as u8; 48]), ..Block::none() };
                    store.keep_block(&block).unwrap();
                }
                words.height = height;
                let mut item = ItemBuilder::new().data(number.to_string());
                if words.recipient > 0 {
                    item = item.target(id(100, words.recipient));
                }
                for (tag, value) in &words.tags {
                    item = item.tag(name(*tag), value.to_string());
                }
                let item = item.sign(&WALLETS[words.signer]).unwrap();
                ids.push(item.id());
                // Twice: the second time changes nothing.
                for _ in 0..2 {
                    match words.carrier {
                        0 => {
                            let mut batch = Batch::new();
                            batch.push(Write::Item(item.clone()));
                            store.commit(batch, Durability::Relaxed).unwrap();
                        }
                        carrier => store.keep_bundled(&[(item.clone(), id(200, carrier))]).unwrap(),
                    }
                }
                if number == half {
                    drop(store);
                    store = Store::open(folder.path()).unwrap();
                }
            }
            for asked in &queries {
                let all = items.iter().zip(&ids).filter(|(words, _)| fits(words, asked)).map(|(_, id)| *id);
                let mut expected: Vec<Id> = all.collect();
                if asked.newest_first {
                    expected.reverse();
                }
                let mut found = Vec::new();
                let mut after = None;
                loop {
                    let filter = filter(asked);
                    let (indexed, limit) = (filter.tags.iter().all(|tag| !tag.negated), asked.page);
                    let search = Search { filter, newest_first: asked.newest_first, after, limit };
                    let effort = Effort::default();
                    let page = store.search(&search, &effort).unwrap();
                    found.extend(page.documents.iter().map(|(_, document)| document.id));
                    prop_assert_eq!(page.more, found.len() < expected.len());
                    if indexed {
                        // The join gives what fits and nothing else.
                        let looked_at = effort.candidates.into_inner();
                        prop_assert_eq!(looked_at, page.documents.len() + usize::from(page.more));
                    }
                    let Some((last, _)) = page.documents.last().filter(|_| page.more) else { break };
                    after = Position::of_cursor(&last.to_cursor());
                    prop_assert!(after.is_some());
                }
                prop_assert_eq!(&found, &expected, "{:?}", asked);
            }
        }
    }

    #[test]
    fn a_search_that_looks_at_too_much_ends() {
        let effort = Effort::default();
        effort.candidates.store(MAX_CANDIDATES, atomic::Ordering::Relaxed);
        assert!(effort.candidate().unwrap_err().to_string().contains("narrow it"));
        effort.seeks.store(MAX_SEEKS, atomic::Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let search = Search { filter: Filter::default(), newest_first: true, after: None, limit: 1 };
        assert!(matches!(store.search(&search, &effort), Err(SearchError::TooCostly)));
    }

    #[test]
    fn blocks_come_in_pages() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for height in 1..=5 {
            store.keep_block(&Block { height, id: BlockId([height as u8; 48]), ..Block::none() }).unwrap();
        }
        let heights = |range, newest_first, after, limit| {
            let (blocks, more) = store.blocks(range, newest_first, after, limit).unwrap();
            (blocks.iter().map(|block| block.height).collect::<Vec<_>>(), more)
        };
        let all = (0, u64::MAX);
        assert_eq!(heights(all, true, None, 2), (vec![5, 4], true));
        assert_eq!(heights(all, true, Some(4), 10), (vec![3, 2, 1], false));
        assert_eq!(heights(all, false, Some(3), 1), (vec![4], true));
        assert_eq!(heights((2, 4), false, None, 3), (vec![2, 3, 4], false));
        assert_eq!(heights((2, 4), true, Some(9), 1), (vec![4], true));
        assert_eq!(heights((9, 3), false, None, 9), (vec![], false));
        assert_eq!(heights(all, true, Some(0), 9), (vec![], false));
    }
}
