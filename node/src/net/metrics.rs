//! The swarm's events, counted by libp2p's own metrics.

use std::fmt;
use std::sync::Arc;

use libp2p::metrics::{Metrics, Recorder};
use libp2p::swarm::SwarmEvent;

use super::behaviour::BehaviourEvent;
use crate::metrics::Registering;

/// Counts what happens in the swarm: connections, gossip, pings, kad. Cloning is cheap. The default counts for nobody.
#[derive(Clone)]
pub struct NetMetrics(Arc<Metrics>);

impl NetMetrics {
    /// Counts in a registry.
    pub(crate) fn new(registering: &mut Registering) -> NetMetrics {
        NetMetrics(Arc::new(Metrics::new(registering.registry())))
    }

    pub(super) fn record(&self, event: &SwarmEvent<BehaviourEvent>) {
        self.0.record(event);
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.0.record(event),
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => self.0.record(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.0.record(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.0.record(event),
            _ => {}
        }
    }
}

impl Default for NetMetrics {
    fn default() -> NetMetrics {
        NetMetrics::new(&mut Registering::new())
    }
}

impl fmt::Debug for NetMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetMetrics")
    }
}
