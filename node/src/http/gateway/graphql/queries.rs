//! The queries: each checks its arguments, asks the store, and peers for ids that are not held here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ao_protocol::id::{Id, decode_base64url};
use ao_protocol::log::LogError;
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
/// Most ids of one request that peers are asked for.
const MAX_ASKED_IDS: usize = 16;

/// What one request may still cost, over all that it asks for.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    effort: Effort,
    asked: AtomicUsize,
}

/// What may be asked.
pub(super) struct Query;

#[Object]
impl Query {
    /// An item by its id.
    async fn transaction(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Transaction>> {
        let Ok(id) = id.parse::<Id>() else { return Ok(None) };
        let (world, allowance) = surroundings(ctx)?;
        let Some((position, document)) = by_id(&world, &allowance, id).await.map_err(internal)? else {
            return Ok(None);
        };
        let block = dated(world.log(), position.height).map_err(internal)?;
        Ok(Some(Transaction::new(document, &block)))
    }

    /// Items that fit all conditions.
    #[graphql(complexity = "LIST_COMPLEXITY + child_complexity")]
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
            Some(wanted) => {
                let found = join_all(wanted.into_iter().map(|id| by_id(&world, &allowance, id))).await;
                let found = found.into_iter().collect::<Result<Vec<_>, LogError>>().map_err(internal)?;
                Some(found.into_iter().flatten().collect::<Vec<_>>())
            }
            None => None,
        };
        let searched = tokio::task::spawn_blocking(move || {
            let found = match held {
                Some(held) => choose(held, &search),
                None => world.log().search(&search, &allowance.effort)?,
            };
            edges(world.log(), found).map_err(SearchError::from)
        });
        match searched.await.map_err(|_| Error::new("the node is stopping"))? {
            Ok((edges, more)) => Ok(page(edges, more)),
            Err(SearchError::Log(cause)) => Err(internal(cause)),
            Err(cause) => Err(Error::new(cause.to_string())),
        }
    }

    /// A block by its id.
    async fn block(&self, ctx: &Context<'_>, id: Option<String>) -> Result<Option<Block>> {
        let Some(id) = id.and_then(|id| id.parse::<arweave::BlockId>().ok()) else { return Ok(None) };
        let (world, _) = surroundings(ctx)?;
        Ok(world.log().block_by_id(&id).map_err(internal)?.as_ref().map(Block::from))
    }

    /// Blocks by ids or heights.
    #[graphql(complexity = "LIST_COMPLEXITY + child_complexity")]
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
        let read = tokio::task::spawn_blocking(move || {
            let Some(ids) = ids else { return world.log().blocks(heights, newest_first, after, limit) };
            let ids = ids.iter().filter_map(|id| id.parse::<arweave::BlockId>().ok());
            let found = ids.map(|id| world.log().block_by_id(&id)).collect::<Result<Vec<_>, _>>()?;
            let within = |block: &arweave::Block| (heights.0..=heights.1).contains(&block.height);
            let blocks: Vec<arweave::Block> = found.into_iter().flatten().filter(within).collect();
            Ok(cut(blocks, |block| block.height, newest_first, after, limit))
        });
        let (blocks, more) = read.await.map_err(|_| Error::new("the node is stopping"))?.map_err(internal)?;
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

/// A document by its id; peers are asked for what is not held here, for a few ids a request.
async fn by_id(world: &World, allowance: &Allowance, id: Id) -> Result<Option<(Position, Document)>, LogError> {
    if let Some(found) = world.log().document(&id)? {
        return Ok(Some(found));
    }
    if allowance.asked.fetch_add(1, Ordering::Relaxed) >= MAX_ASKED_IDS {
        return Ok(None);
    }
    match lookup::item(world, &id).await? {
        lookup::Found::Item(_) => world.log().document(&id),
        lookup::Found::Nowhere | lookup::Found::Unsure => Ok(None),
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
