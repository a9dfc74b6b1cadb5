//! What clients ask by: the arguments of queries, checked.

use ao_protocol::id::Id;
use async_graphql::{Enum, Error, ID, InputObject, Result};

use crate::store::{Filter, Position, TagCondition};

/// Entries of a page when the client does not say.
const DEFAULT_FIRST: i64 = 10;
/// Most entries of a page; who asks for more gets so many.
pub(super) const MAX_FIRST: usize = 100;
/// What nobody means who asks for a page.
const ABSURD_FIRST: i64 = 1000;
/// Most ids of one query.
pub(super) const MAX_QUERY_IDS: usize = 100;
/// Most values of one condition.
const MAX_QUERY_VALUES: usize = 100;
/// Most conditions on tags in one query.
const MAX_TAG_CONDITIONS: usize = 32;

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
#[graphql(rename_items = "SCREAMING_SNAKE_CASE")]
pub(super) enum SortOrder {
    /// Oldest first.
    HeightAsc,
    /// Newest first.
    #[default]
    HeightDesc,
}

/// How a tag is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
pub(super) enum TagOperator {
    /// One of the values.
    #[default]
    #[graphql(name = "EQ")]
    Eq,
    /// None of the values, or no such tag.
    #[graphql(name = "NEQ")]
    Neq,
}

/// A condition on tags.
#[derive(Debug, InputObject)]
pub(super) struct TagFilter {
    /// The tag's name.
    name: String,
    /// Its values.
    values: Vec<String>,
    /// How they are compared.
    #[graphql(default)]
    op: TagOperator,
}

/// A range of heights, both ends included.
#[derive(Debug, Default, InputObject)]
pub(super) struct BlockFilter {
    /// The lowest.
    min: Option<i64>,
    /// The highest.
    max: Option<i64>,
}

impl BlockFilter {
    /// The lowest and the highest height.
    pub(super) fn heights(range: Option<BlockFilter>) -> Result<(u64, u64)> {
        let range = range.unwrap_or_default();
        let height = |name: &str, height: Option<i64>, otherwise: u64| match height {
            None => Ok(otherwise),
            Some(height) => {
                u64::try_from(height).map_err(|_| Error::new(format!("{name} is {height}; heights begin at 0")))
            }
        };
        Ok((height("min", range.min, 0)?, height("max", range.max, u64::MAX)?))
    }
}

/// How many entries a page may have.
pub(super) fn page_size(first: Option<i64>) -> Result<usize> {
    let first = first.unwrap_or(DEFAULT_FIRST);
    let size = usize::try_from(first).ok().filter(|size| *size > 0 && first <= ABSURD_FIRST);
    let wrong = || Error::new(format!("first is {first}; a page has 1 to {MAX_FIRST} entries"));
    size.map(|size| size.min(MAX_FIRST)).ok_or_else(wrong)
}

/// Behind which entry a page begins; the empty text is the beginning.
pub(super) fn cursor<T>(after: Option<&str>, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
    let Some(text) = after.filter(|text| !text.is_empty()) else { return Ok(None) };
    let shown: String = text.chars().take(80).collect();
    let wrong = || Error::new(format!("after is {shown:?}, which is no cursor: give the cursor of an edge"));
    read(text).map(Some).ok_or_else(wrong)
}

/// The cursor of an item.
pub(super) fn item_cursor(after: Option<&str>) -> Result<Option<Position>> {
    cursor(after, Position::of_cursor)
}

/// Ids; what is no id names nothing and is left out. An empty list is none, as gateways have it.
pub(super) fn ids(ids: Option<Vec<ID>>) -> Result<Option<Vec<Id>>> {
    let Some(ids) = bounded("ids", ids, MAX_QUERY_IDS)? else { return Ok(None) };
    let mut ids: Vec<Id> = ids.iter().filter_map(|id| id.parse().ok()).collect();
    ids.sort();
    ids.dedup();
    Ok(Some(ids))
}

/// The conditions of a query on items, without ids.
pub(super) fn filter(
    owners: Option<Vec<String>>,
    recipients: Option<Vec<String>>,
    tags: Option<Vec<TagFilter>>,
    bundled_in: Option<Vec<ID>>,
    block: Option<BlockFilter>,
) -> Result<Option<Filter>> {
    let condition = |tag: TagFilter| {
        let values = bounded("values of a tag", Some(tag.values), MAX_QUERY_VALUES)?.unwrap_or_default();
        Ok(TagCondition { name: tag.name, values, negated: tag.op == TagOperator::Neq })
    };
    let tags = bounded("tags", tags, MAX_TAG_CONDITIONS)?.unwrap_or_default();
    let bundled = ids(bundled_in)?;
    if bundled.as_ref().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    Ok(Some(Filter {
        owners: bounded("owners", owners, MAX_QUERY_VALUES)?.unwrap_or_default(),
        recipients: bounded("recipients", recipients, MAX_QUERY_VALUES)?.unwrap_or_default(),
        tags: tags.into_iter().map(condition).collect::<Result<_>>()?,
        bundled_in: bundled.unwrap_or_default(),
        heights: BlockFilter::heights(block)?,
    }))
}

fn bounded<T>(name: &str, list: Option<Vec<T>>, limit: usize) -> Result<Option<Vec<T>>> {
    let list = list.filter(|list| !list.is_empty());
    match list.as_ref().map_or(0, Vec::len) {
        length if length > limit => Err(Error::new(format!("{name} has {length} entries; at most {limit} are taken"))),
        _ => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_are_capped_and_nonsense_is_refused() {
        assert_eq!(page_size(None).unwrap(), 10);
        assert_eq!(page_size(Some(1)).unwrap(), 1);
        assert_eq!(page_size(Some(1000)).unwrap(), 100);
        for wrong in [0, -1, 1001, i64::MIN, i64::MAX] {
            assert!(page_size(Some(wrong)).unwrap_err().message.contains("1 to 100"), "{wrong}");
        }
    }

    #[test]
    fn lists_are_bounded_and_empty_ones_are_no_condition() {
        let many = || Some(vec![String::new(); MAX_QUERY_VALUES + 1]);
        assert!(filter(many(), None, None, None, None).unwrap_err().message.contains("owners has 101"));
        let empty = filter(Some(vec![]), Some(vec![]), Some(vec![]), Some(vec![]), None).unwrap();
        assert_eq!(empty, Some(Filter::default()));
        assert_eq!(ids(Some(vec!["x".into()])).unwrap(), Some(vec![]));
        assert_eq!(ids(Some(vec![])).unwrap(), None);
        let negative = Some(BlockFilter { min: Some(-1), max: None });
        assert!(BlockFilter::heights(negative).unwrap_err().message.contains("min is -1"));
    }
}
