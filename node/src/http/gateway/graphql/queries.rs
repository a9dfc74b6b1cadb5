//! The queries: each checks its arguments, asks the store, and peers for ids that are not held here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ao_protocol::id::{Id, decode_base64url};
use ao_protocol::log::LogError;
use ao_protocol::tag::Tag;
use async_graphql::{Context, Error, ID, Object, Result};
use futures::future::join_all;

use super::arguments::{
    BlockFilter, MAX_FIRST, MAX_QUERY_IDS, SortOrder, TagFilter, cursor, filter, ids, item_cursor, page_size,
};
use super::objects::{
    Block, BlockConnection, BlockEdge, PageInfo, Transaction, TransactionConnection, TransactionEdge, block_cursor,
};
use crate::arweave;
use crate::drive::{World, lookup};
use crate::store::{Document, Effort, Found, Position, Search, SearchError, Store};

/// What a list counts beside its fields: it takes that much longer than a field.
pub(super) const LIST_COMPLEXITY: usize = 100;
/// What a field of a list counts: every entry has it.
pub(super) const EDGE_COMPLEXITY: usize = 10;
/// Most ids of one request that peers are asked for.
const MAX_ASKED_IDS: usize = 16;

/// Most bytes of tags in one answer, each as often as it is asked for.
pub(super) const MAX_SHOWN_TAG_BYTES: usize = 4 * 1024 * 1024;
/// What a tag counts beside its bytes: what it takes in memory while the answer is made.
const TAG_OVERHEAD_BYTES: usize = 256;

/// What one request may still cost, over all that it asks for.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    effort: Effort,
    asked: AtomicUsize,
    tag_bytes: AtomicUsize,
}

impl Allowance {
    /// Takes room for tags of which so many fields are shown: how many an item has is not known to the complexity.
    pub(super) fn show(&self, tags: &[Tag], fields: usize) -> Result<()> {
        let bytes = |tag: &Tag| (tag.name.len() + tag.value.len() + TAG_OVERHEAD_BYTES).saturating_mul(fields);
        let more: usize = tags.iter().map(bytes).fold(0, usize::saturating_add);
        let before = self.tag_bytes.fetch_add(more.min(MAX_SHOWN_TAG_BYTES + 1), Ordering::Relaxed);
        if before.saturating_add(more) <= MAX_SHOWN_TAG_BYTES {
            return Ok(());
        }
        let text = format!("the tags of what was found take more than {MAX_SHOWN_TAG_BYTES} bytes; ask for less");
        Err(Error::new(text))
    }
}

/// What may be asked.
pub(super) struct Query;

#[Object]
impl Query {
    /// An item by its id.
    async fn transaction(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Transaction>> {
        let Ok(id) = id.parse::<Id>() else { return Ok(None) };
        let (world, allowance) = surroundings(ctx)?;
        let found = by_ids(&world, &allowance, vec![id]).await?;
        let Some((position, document)) = found.into_iter().next() else { return Ok(None) };
        let block = dated(world.log(), position.height).map_err(internal)?;
        Ok(Some(Transaction::new(document, &block)))
    }

    /// Items that fit all conditions.
    #[graphql(complexity = "LIST_COMPLEXITY + EDGE_COMPLEXITY * child_complexity")]
    #[allow(clippy::too_many_arguments, reason = "the names are those of the schema")]
    async fn transactions(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ids")] wanted: Option<Vec<ID>>,
        owners: Option<Vec<String>>,
        recipients: Option<Vec<String>>,
        tags: Option<Vec<TagFilter>>,
        bundled_in: Option<Vec<ID>>,
        block: Option<BlockFilter>,
        #[graphql(default_with = "Some(10)")] first: Option<i64>,
        after: Option<String>,
        #[graphql(default_with = "Some(SortOrder::HeightDesc)")] sort: Option<SortOrder>,
    ) -> Result<TransactionConnection> {
        let (world, allowance) = surroundings(ctx)?;
        let (limit, after) = (page_size(first)?, item_cursor(after.as_deref())?);
        let newest_first = sort.unwrap_or_default() == SortOrder::HeightDesc;
        let wanted = ids(wanted)?;
        let Some(filter) = filter(owners, recipients, tags, bundled_in, block)? else { return Ok(page(vec![], false)) };
        let search = Search { filter, newest_first, after, limit };
        let held = match wanted {
            Some(wanted) => Some(by_ids(&world, &allowance, wanted).await?),
            None => None,
        };
        let searched = blocking(move || {
            let found = match held {
                Some(held) => choose(held, &search),
                None => world.log().search(&search, &allowance.effort)?,
            };
            Ok(edges(world.log(), found)?)
        });
        let (edges, more) = searched.await?;
        Ok(page(edges, more))
    }

    /// A block by its id.
    async fn block(&self, ctx: &Context<'_>, id: Option<String>) -> Result<Option<Block>> {
        let Some(id) = id.and_then(|id| id.parse::<arweave::BlockId>().ok()) else { return Ok(None) };
        let (world, _) = surroundings(ctx)?;
        Ok(world.log().block_by_id(&id).map_err(internal)?.as_ref().map(Block::from))
    }

    /// Blocks by ids or heights.
    #[graphql(complexity = "LIST_COMPLEXITY + EDGE_COMPLEXITY * child_complexity")]
    #[allow(clippy::too_many_arguments, reason = "the names are those of the schema")]
    async fn blocks(
        &self,
        ctx: &Context<'_>,
        ids: Option<Vec<ID>>,
        height: Option<BlockFilter>,
        #[graphql(default_with = "Some(10)")] first: Option<i64>,
        after: Option<String>,
        #[graphql(default_with = "Some(SortOrder::HeightDesc)")] sort: Option<SortOrder>,
    ) -> Result<BlockConnection> {
        let (world, _) = surroundings(ctx)?;
        let limit = page_size(first)?;
        let height_of = |text: &str| decode_base64url(text).ok()?.try_into().ok().map(u64::from_be_bytes);
        let after: Option<u64> = cursor(after.as_deref(), height_of)?;
        let heights = BlockFilter::heights(height)?;
        let newest_first = sort.unwrap_or_default() == SortOrder::HeightDesc;
        let ids = ids.filter(|ids| !ids.is_empty());
        if ids.as_ref().is_some_and(|ids| ids.len() > MAX_QUERY_IDS) {
            return Err(Error::new(format!("ids has too many entries; at most {MAX_QUERY_IDS} are taken")));
        }
        let read = blocking(move || {
            let Some(ids) = ids else { return Ok(world.log().blocks(heights, newest_first, after, limit)?) };
            let ids = ids.iter().filter_map(|id| id.parse::<arweave::BlockId>().ok());
            let found = ids.map(|id| world.log().block_by_id(&id)).collect::<Result<Vec<_>, LogError>>()?;
            let within = |block: &arweave::Block| (heights.0..=heights.1).contains(&block.height);
            let blocks: Vec<arweave::Block> = found.into_iter().flatten().filter(within).collect();
            Ok(cut(blocks, |block| block.height, newest_first, after, limit))
        });
        let (blocks, more) = read.await?;
        let edge = |block: &arweave::Block| BlockEdge { cursor: block_cursor(block.height), node: block.into() };
        Ok(BlockConnection { page_info: PageInfo { has_next_page: more }, edges: blocks.iter().map(edge).collect() })
    }
}

fn surroundings(ctx: &Context<'_>) -> Result<(World, Arc<Allowance>)> {
    Ok((ctx.data::<World>()?.clone(), ctx.data::<Arc<Allowance>>()?.clone()))
}

/// What the client reads says less than the log of this node.
fn internal(cause: LogError) -> Error {
    tracing::error!(%cause, "a query failed");
    Error::new("the database of this node failed")
}

/// Documents by their ids; peers are asked for what is not held here, for a few ids a request.
async fn by_ids(world: &World, allowance: &Arc<Allowance>, ids: Vec<Id>) -> Result<Vec<(Position, Document)>> {
    let (mut held, missing) = read(world, allowance, ids).await?;
    let asked = missing.into_iter().filter(|_| allowance.asked.fetch_add(1, Ordering::Relaxed) < MAX_ASKED_IDS);
    let looked_up = join_all(asked.map(async |id| Ok((id, lookup::item(world, &id).await?)))).await;
    let looked_up = looked_up.into_iter().collect::<Result<Vec<_>, LogError>>().map_err(internal)?;
    let came = looked_up.into_iter().filter(|(_, found)| matches!(found, lookup::Found::Item(_)));
    let came: Vec<Id> = came.map(|(id, _)| id).collect();
    if !came.is_empty() {
        held.extend(read(world, allowance, came).await?.0);
    }
    Ok(held)
}

/// The documents that are held here, and the ids that are not. Items may be large: they are read beside the tasks that
/// serve requests.
async fn read(world: &World, allowance: &Arc<Allowance>, ids: Vec<Id>) -> Result<(Vec<(Position, Document)>, Vec<Id>)> {
    let (world, allowance) = (world.clone(), allowance.clone());
    blocking(move || {
        let (mut held, mut missing) = (Vec::new(), Vec::new());
        for id in ids {
            match world.log().document(&id, &allowance.effort)? {
                Some(document) => held.push(document),
                None => missing.push(id),
            }
        }
        Ok((held, missing))
    })
    .await
}

/// Does what takes a while beside the tasks that serve requests.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, SearchError> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await.map_err(|_| Error::new("the node is stopping"))? {
        Ok(done) => Ok(done),
        Err(SearchError::Log(cause)) => Err(internal(cause)),
        Err(cause) => Err(Error::new(cause.to_string())),
    }
}

/// The page of a search among documents that are known already.
fn choose(documents: Vec<(Position, Document)>, search: &Search) -> Found {
    let matches = documents.into_iter().filter(|(position, document)| search.filter.matches(*position, document));
    let place = |(position, _): &(Position, Document)| *position;
    let (documents, more) = cut(matches.collect(), place, search.newest_first, search.after, search.limit);
    Found { documents, more }
}

/// The first entries behind a place in the order wanted, and whether there are more.
fn cut<T, K: Ord>(
    mut entries: Vec<T>,
    place: impl Fn(&T) -> K,
    newest_first: bool,
    after: Option<K>,
    limit: usize,
) -> (Vec<T>, bool) {
    entries.sort_by_key(&place);
    entries.dedup_by(|one, other| place(one) == place(other));
    if newest_first {
        entries.reverse();
    }
    if let Some(after) = after {
        entries.retain(|entry| if newest_first { place(entry) < after } else { place(entry) > after });
    }
    let more = entries.len() > limit;
    entries.truncate(limit.min(MAX_FIRST));
    (entries, more)
}

fn edges(store: &Store, found: Found) -> Result<(Vec<TransactionEdge>, bool), LogError> {
    // Most items of a page are of few blocks.
    let mut blocks: HashMap<u64, arweave::Block> = HashMap::new();
    let mut edges = Vec::with_capacity(found.documents.len());
    for (position, document) in found.documents {
        let block = match blocks.entry(position.height) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(dated(store, position.height)?),
        };
        edges.push(TransactionEdge::new(position, document, block));
    }
    Ok((edges, found.more))
}

fn page(edges: Vec<TransactionEdge>, more: bool) -> TransactionConnection {
    TransactionConnection { page_info: PageInfo { has_next_page: more }, edges }
}

/// The block that dates what was indexed at a height. Clients count on there being one.
fn dated(store: &Store, height: u64) -> Result<arweave::Block, LogError> {
    Ok(store.block(height)?.unwrap_or_else(|| arweave::Block { height, ..arweave::Block::none() }))
}
