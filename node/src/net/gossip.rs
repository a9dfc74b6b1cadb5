//! Gossip in both directions. Every message gets a verdict: from here when it is malformed, over quota, an
//! announcement, or when the node is too slow; else from the node.

use ao_protocol::wire::{self, Gossip, MAX_GOSSIP_BYTES};
use libp2p_gossipsub::{Message, MessageAcceptance, MessageId, PublishError};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::debug;

use super::announcing::now_ms;
use super::directory::Taken;
use super::error::NetError;
use super::limits::MAX_UNJUDGED;
use super::owner::Owner;
use super::peer::PeerId;
use super::topic::{Kind, Topic};
use super::{NetEvent, Ticket, Verdict};

impl Owner {
    /// Publishes an encoded message.
    pub(super) fn publish(&mut self, topic: Topic, bytes: Vec<u8>) -> Result<(), NetError> {
        let size = bytes.len();
        match self.swarm.behaviour_mut().gossip.publish(topic.hash(), bytes) {
            Ok(_) | Err(PublishError::Duplicate | PublishError::NoPeersSubscribedToTopic) => Ok(()),
            Err(PublishError::AllQueuesFull(peers)) => {
                debug!(?topic, peers, "no peer takes more gossip now; repair will do it");
                Ok(())
            }
            Err(PublishError::MessageTooLarge) => Err(NetError::TooLarge { bytes: size, limit: MAX_GOSSIP_BYTES }),
            Err(cause) => Err(NetError::Setup(format!("gossip can't be published: {cause}"))),
        }
    }

    /// Publishes something of this layer that belongs to no shard.
    pub(super) fn publish_own(&mut self, gossip: &Gossip) -> Result<(), NetError> {
        // Gossipsub knows what it sent and what it received, so nothing circles.
        self.publish(Topic::of(0, gossip)?, wire::encode(gossip))
    }

    /// A message came in.
    pub(super) fn on_gossip(&mut self, source: PeerId, id: MessageId, message: Message) {
        let gossip = match self.read(&source, &message) {
            Ok(gossip) => gossip,
            Err(verdict) => return self.on_verdict(&id, &source, verdict),
        };
        if let Gossip::Announcement(item) = gossip {
            let verdict = match self.directory.take(&item, &source, now_ms()) {
                Taken::New => Verdict::Accept,
                Taken::Known | Taken::Unusable(_) => Verdict::Ignore,
                Taken::Invalid(cause) => {
                    debug!(peer = %source, cause, "rejecting a false announcement");
                    Verdict::Reject
                }
            };
            return self.on_verdict(&id, &source, verdict);
        }
        if self.unjudged.len() >= MAX_UNJUDGED {
            return self.on_verdict(&id, &source, Verdict::Ignore);
        }
        let (ticket, judged) = oneshot::channel();
        if !self.offer(NetEvent::Gossip { from: source.clone(), gossip, ticket: Ticket(ticket) }) {
            return self.on_verdict(&id, &source, Verdict::Ignore);
        }
        self.unjudged.push(Box::pin(async move { (id, source, judged.await.unwrap_or(Verdict::Ignore)) }));
    }

    /// Reads a message of an accepted peer within its quota.
    fn read(&mut self, source: &PeerId, message: &Message) -> Result<Gossip, Verdict> {
        if !self.peers.get(source).is_some_and(|peer| peer.accepted) {
            return Err(Verdict::Ignore);
        }
        if !self.quota(source).gossip(message.data.len(), Instant::now()) {
            return Err(Verdict::Ignore);
        }
        read(message).map_err(|cause| {
            debug!(peer = %source, topic = %message.topic, cause, "rejecting gossip");
            Verdict::Reject
        })
    }

    /// Passes a verdict on.
    pub(super) fn on_verdict(&mut self, id: &MessageId, source: &PeerId, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        self.swarm.behaviour_mut().gossip.report_message_validation_result(id, &source.inner(), acceptance);
    }
}

/// Reads a message, or says what is wrong with it in itself.
fn read(message: &Message) -> Result<Gossip, String> {
    if message.data.len() > MAX_GOSSIP_BYTES {
        return Err(format!("{} bytes are too many", message.data.len()));
    }
    let gossip: Gossip = wire::decode(&message.data).map_err(|cause| cause.to_string())?;
    let fits = |topic: Topic| topic.kind == Kind::of(&gossip) && topic.hash() == message.topic;
    match Topic::all().any(fits) {
        true => Ok(gossip),
        false => Err("the topic carries another kind".into()),
    }
}

#[cfg(test)]
mod tests {
    use ao_protocol::wire::ItemBytes;

    use super::*;

    fn message(topic: Topic, data: Vec<u8>) -> Message {
        Message { source: None, data, sequence_number: None, topic: topic.hash() }
    }

    #[test]
    fn gossip_must_be_readable_small_and_on_a_topic_of_its_kind() {
        let gossip = Gossip::Entries(vec![]);
        let bytes = wire::encode(&gossip);
        for shard in [0, 15] {
            assert_eq!(
                read(&message(Topic { kind: Kind::Entries, shard: Some(shard) }, bytes.clone())),
                Ok(gossip.clone())
            );
        }
        for other in Topic::all().filter(|topic| topic.kind != Kind::Entries) {
            assert!(read(&message(other, bytes.clone())).is_err(), "{other:?}");
        }
        let items = Topic { kind: Kind::Items, shard: None };
        for garbage in [vec![], vec![1], vec![0xff; 100], [bytes, vec![0]].concat()] {
            assert!(read(&message(items, garbage)).is_err());
        }
        let large = wire::encode(&Gossip::Item(ItemBytes(vec![0; MAX_GOSSIP_BYTES])));
        assert!(read(&message(items, large)).is_err());
    }
}
