//! Requests in both directions. Ours wait in a bounded queue per peer until the peer is greeted, and only a few are on
//! their way to one peer at once. Those of peers are counted against their quota and answered Busy when there are too
//! many.

use std::collections::{HashMap, VecDeque};

use ao_protocol::wire::{Request, Response};
use libp2p::request_response::{Event, InboundFailure, Message, OutboundFailure, OutboundRequestId, ResponseChannel};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::error::NetError;
use super::limits::{MAX_IN_FLIGHT, MAX_UNANSWERED, MAX_WAITING, REQUEST_TIMEOUT};
use super::owner::{Answer, Owner};
use super::peer::PeerId;
use super::{NetEvent, Reply};

/// Who waits for a peer to be greeted.
pub(super) enum Waiter {
    /// A request, and who wants the answer.
    Ask(Box<Request>, Answer<Response>),
    /// Somebody who only wants it connected.
    Reach(Answer<()>),
}

impl Waiter {
    fn fail(self, error: NetError) {
        match self {
            Waiter::Ask(_, answer) => drop(answer.send(Err(error))),
            Waiter::Reach(done) => drop(done.send(Err(error))),
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Waiter::Ask(_, answer) => answer.is_closed(),
            Waiter::Reach(done) => done.is_closed(),
        }
    }
}

/// What was sent, by the id that its answer repeats.
pub(super) enum Sent {
    /// Our own greeting.
    Greeting(PeerId),
    /// A request of the node.
    Ask(PeerId, Answer<Response>),
}

/// Our requests: those that wait and those on their way.
#[derive(Default)]
pub(super) struct Outbox {
    queues: HashMap<PeerId, Queue>,
    sent: HashMap<OutboundRequestId, Sent>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiter>,
    in_flight: usize,
}

impl Outbox {
    /// Puts somebody in the queue of a peer, unless that is full.
    pub(super) fn wait(&mut self, peer: &PeerId, waiter: Waiter) {
        let queue = self.queues.entry(peer.clone()).or_default();
        match queue.waiting.len() {
            waiting if waiting >= MAX_WAITING => waiter.fail(NetError::Crowded { peer: peer.clone(), waiting }),
            _ => queue.waiting.push_back(waiter),
        }
    }

    pub(super) fn sent(&mut self, id: OutboundRequestId, sent: Sent) {
        self.sent.insert(id, sent);
    }

    /// The next that may be sent now.
    fn next(&mut self, peer: &PeerId) -> Option<Waiter> {
        let queue = self.queues.get_mut(peer).filter(|queue| queue.in_flight < MAX_IN_FLIGHT)?;
        while let Some(waiter) = queue.waiting.pop_front() {
            if !waiter.is_abandoned() {
                return Some(waiter);
            }
        }
        None
    }

    fn begin(&mut self, peer: &PeerId) {
        self.queues.entry(peer.clone()).or_default().in_flight += 1;
    }

    fn end(&mut self, id: OutboundRequestId) -> Option<Sent> {
        let sent = self.sent.remove(&id)?;
        if let Sent::Ask(peer, _) = &sent
            && let Some(queue) = self.queues.get_mut(peer)
        {
            queue.in_flight = queue.in_flight.saturating_sub(1);
        }
        Some(sent)
    }

    /// The peer can't be had: whoever waits for it is told. What is on its way gets its own error.
    pub(super) fn fail_waiting(&mut self, peer: &PeerId, error: &NetError) {
        let waiting = self.queues.get_mut(peer).map(|queue| std::mem::take(&mut queue.waiting));
        waiting.into_iter().flatten().for_each(|waiter| waiter.fail(error.clone()));
    }

    /// Drops whom nobody waits for any more, and queues without use.
    pub(super) fn forget_abandoned(&mut self) {
        self.queues.retain(|_, queue| {
            queue.waiting.retain(|waiter| !waiter.is_abandoned());
            queue.in_flight > 0 || !queue.waiting.is_empty()
        });
    }
}

impl Owner {
    /// The node asks a peer.
    pub(super) fn ask(&mut self, peer: PeerId, request: Request, answer: Answer<Response>) {
        self.outbox.wait(&peer, Waiter::Ask(Box::new(request), answer));
        self.reach(&peer);
    }

    /// Sends what waits for a greeted peer, as far as it may be sent now.
    pub(super) fn pump(&mut self, peer: &PeerId) {
        if !self.peers.get(peer).is_some_and(|state| state.greeted) {
            return;
        }
        while let Some(waiter) = self.outbox.next(peer) {
            match waiter {
                Waiter::Reach(done) => drop(done.send(Ok(()))),
                Waiter::Ask(request, answer) => {
                    self.outbox.begin(peer);
                    let id = self.swarm.behaviour_mut().requests.send_request(&peer.inner(), *request);
                    self.outbox.sent(id, Sent::Ask(peer.clone(), answer));
                }
            }
        }
    }

    /// Something came of a request, ours or a peer's.
    pub(super) fn on_exchange(&mut self, event: Event<Request, Response>) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                self.on_request(peer.into(), request, channel);
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                match self.outbox.end(request_id) {
                    Some(Sent::Greeting(peer)) => match response {
                        Response::Hello { network, announcements } => {
                            self.on_greeting_answer(&peer, &network, announcements);
                        }
                        _ => self.on_greeting_end(&peer),
                    },
                    Some(Sent::Ask(peer, answer)) => {
                        let _ = answer.send(Ok(response));
                        self.pump(&peer);
                    }
                    None => {}
                }
            }
            Event::OutboundFailure { request_id, error, .. } => match self.outbox.end(request_id) {
                Some(Sent::Greeting(peer)) => {
                    debug!(%peer, %error, "a greeting was not answered");
                    self.on_greeting_end(&peer);
                }
                Some(Sent::Ask(peer, answer)) => {
                    let _ = answer.send(Err(failure(&peer, &error)));
                    self.pump(&peer);
                }
                None => {}
            },
            // Whoever answers may have given up, which is told there.
            Event::InboundFailure { error: InboundFailure::ResponseOmission, .. } | Event::ResponseSent { .. } => {}
            Event::InboundFailure { peer, error, .. } => debug!(%peer, %error, "a request of a peer came to nothing"),
        }
    }

    fn on_request(&mut self, peer: PeerId, request: Request, channel: ResponseChannel<Response>) {
        if !self.quota(&peer).request(Instant::now()) {
            return self.respond(channel, Response::Busy("you ask too often; try again later".into()));
        }
        if let Request::Hello { network, announcement } = request {
            return self.on_greeting(&peer, network, announcement, channel);
        }
        if !self.peers.get(&peer).is_some_and(|state| state.accepted) {
            return self.respond(channel, Response::Busy("say hello first, with the hash of this network".into()));
        }
        if self.unanswered.len() >= MAX_UNANSWERED {
            return self.respond(channel, busy());
        }
        let (reply, answered) = oneshot::channel();
        if !self.offer(NetEvent::Request { from: peer, request, reply: Reply(reply) }) {
            return self.respond(channel, busy());
        }
        self.unanswered.push(Box::pin(async move {
            let response = match timeout(REQUEST_TIMEOUT, answered).await {
                Ok(Ok(response)) => response,
                Ok(Err(_)) | Err(_) => busy(),
            };
            (channel, response)
        }));
    }

    pub(super) fn respond(&mut self, channel: ResponseChannel<Response>, response: Response) {
        // Fails when the peer is gone or was no longer waiting: it knows already.
        let _ = self.swarm.behaviour_mut().requests.send_response(channel, response);
    }
}

fn busy() -> Response {
    Response::Busy("this node has too much to do; try again later".into())
}

fn failure(peer: &PeerId, error: &OutboundFailure) -> NetError {
    let peer = peer.clone();
    match error {
        OutboundFailure::DialFailure => NetError::Unreachable { peer, cause: "it could not be dialled".into() },
        OutboundFailure::UnsupportedProtocols => {
            NetError::Unreachable { peer, cause: "it does not speak this version of ao's protocol".into() }
        }
        OutboundFailure::Timeout => NetError::Timeout { peer, seconds: REQUEST_TIMEOUT.as_secs() },
        OutboundFailure::ConnectionClosed => NetError::Broken { peer, cause: "the connection was closed".into() },
        OutboundFailure::Io(cause) => NetError::Broken { peer, cause: cause.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::peer::PeerKey;

    fn ask(outbox: &mut Outbox, peer: &PeerId) -> oneshot::Receiver<Result<Response, NetError>> {
        let (answer, result) = oneshot::channel();
        outbox.wait(peer, Waiter::Ask(Box::new(Request::Tips { after: None }), answer));
        result
    }

    #[test]
    fn a_full_queue_refuses_and_a_failed_peer_tells_everybody() {
        let (mut outbox, peer) = (Outbox::default(), PeerKey::generate().peer_id());
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| ask(&mut outbox, &peer)).collect();
        let mut refused = ask(&mut outbox, &peer);
        assert!(matches!(refused.try_recv().unwrap(), Err(NetError::Crowded { .. })));
        let error = NetError::Unreachable { peer: peer.clone(), cause: "test".into() };
        outbox.fail_waiting(&peer, &error);
        assert!(waiting.iter_mut().all(|result| result.try_recv().unwrap() == Err(error.clone())));
        outbox.forget_abandoned();
        assert!(outbox.queues.is_empty());
    }

    #[test]
    fn only_so_many_are_on_their_way_and_nobody_is_asked_for_the_gone() {
        let (mut outbox, peer) = (Outbox::default(), PeerKey::generate().peer_id());
        drop(ask(&mut outbox, &peer));
        let _waiting: Vec<_> = (0..=MAX_IN_FLIGHT).map(|_| ask(&mut outbox, &peer)).collect();
        let mut sent = 0;
        while let Some(Waiter::Ask(..)) = outbox.next(&peer) {
            outbox.begin(&peer);
            sent += 1;
        }
        assert_eq!(sent, MAX_IN_FLIGHT);
        assert_eq!(outbox.queues[&peer].waiting.len(), 1, "the abandoned one was dropped, one waits");
    }
}
