//! Gossip topics: one list that subscribing, filtering and scoring iterate.

use ao_protocol::wire::{Gossip, SHARDS};
use libp2p_gossipsub::{IdentTopic, TopicHash};

use super::error::NetError;

/// What a topic carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Message,
    Entries,
    Attestations,
    Evidence,
    Announcements,
    Items,
}

impl Kind {
    const ALL: [Kind; 6] =
        [Kind::Message, Kind::Entries, Kind::Attestations, Kind::Evidence, Kind::Announcements, Kind::Items];

    fn name(self) -> &'static str {
        match self {
            Kind::Message => "message",
            Kind::Entries => "entries",
            Kind::Attestations => "attestations",
            Kind::Evidence => "evidence",
            Kind::Announcements => "announcements",
            Kind::Items => "items",
        }
    }

    /// Whether the kind has a topic for each shard, and not one for all.
    fn sharded(self) -> bool {
        !matches!(self, Kind::Announcements | Kind::Items)
    }

    /// The kind that carries a gossip message.
    pub(super) fn of(gossip: &Gossip) -> Kind {
        match gossip {
            Gossip::Message { .. } => Kind::Message,
            Gossip::Entries(_) => Kind::Entries,
            Gossip::Attestations(_) | Gossip::Commits(_) => Kind::Attestations,
            Gossip::Evidence(..) | Gossip::Perjury(_) | Gossip::Resume(_) => Kind::Evidence,
            Gossip::Announcement(_) => Kind::Announcements,
            Gossip::Item(_) => Kind::Items,
        }
    }
}

/// A topic: a kind and, for the kinds about processes, a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Topic {
    pub(super) kind: Kind,
    pub(super) shard: Option<u8>,
}

impl Topic {
    /// Where a gossip message about a process of this shard goes; the shard is not looked at for other kinds.
    pub(super) fn of(shard: u8, gossip: &Gossip) -> Result<Topic, NetError> {
        let kind = Kind::of(gossip);
        match kind.sharded() {
            true if shard >= SHARDS => Err(NetError::Shard(shard)),
            true => Ok(Topic { kind, shard: Some(shard) }),
            false => Ok(Topic { kind, shard: None }),
        }
    }

    /// All topics there are.
    pub(super) fn all() -> impl Iterator<Item = Topic> {
        Kind::ALL.into_iter().flat_map(|kind| {
            let shards = if kind.sharded() { (0..SHARDS).map(Some).collect() } else { vec![None] };
            shards.into_iter().map(move |shard| Topic { kind, shard })
        })
    }

    /// The topics that a node subscribes which follows these shards (one bit each).
    pub(super) fn followed(shards: u16) -> impl Iterator<Item = Topic> {
        Topic::all().filter(move |topic| topic.shard.is_none_or(|shard| shards & (1 << shard) != 0))
    }

    /// The topic as gossipsub knows it.
    pub(super) fn ident(self) -> IdentTopic {
        IdentTopic::new(match self.shard {
            Some(shard) => format!("/ao/1/{}/{shard}", self.kind.name()),
            None => format!("/ao/1/{}", self.kind.name()),
        })
    }

    /// Its name on the wire.
    pub(super) fn hash(self) -> TopicHash {
        self.ident().hash()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ao_protocol::wire::ItemBytes;

    use super::*;

    #[test]
    fn every_kind_has_its_topics_and_no_two_share_a_name() {
        assert_eq!(Topic::all().count(), 4 * 16 + 2);
        assert_eq!(Topic::all().map(Topic::hash).collect::<HashSet<_>>().len(), 4 * 16 + 2);
        assert_eq!(Topic::followed(0).count(), 2, "announcements and items are for all");
        assert_eq!(Topic::followed(0b101).count(), 2 * 4 + 2);
        assert_eq!(Topic::followed(u16::MAX).count(), Topic::all().count());
    }

    #[test]
    fn gossip_goes_to_the_topic_of_its_kind_and_shard() {
        let topic = Topic::of(3, &Gossip::Entries(vec![])).unwrap();
        assert_eq!(topic.hash().as_str(), "/ao/1/entries/3");
        assert_eq!(Topic::of(16, &Gossip::Entries(vec![])), Err(NetError::Shard(16)));
        let item = Gossip::Item(ItemBytes(vec![]));
        assert_eq!(Topic::of(16, &item).unwrap().hash().as_str(), "/ao/1/items");
    }
}
