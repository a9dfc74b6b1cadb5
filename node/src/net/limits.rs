//! Everything between peers that could grow has its limit here, and a token bucket that limits rates.

use std::time::Duration;

use tokio::time::Instant;

/// How long a request may take, from asking to the answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long reaching a peer may take, greeting included.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long listeners may take to come up at start.
pub const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that has not exchanged fitting greetings by then is disconnected.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// A refused peer may still read the reason this long.
pub const REFUSAL_LINGER: Duration = Duration::from_secs(1);
/// How long a peer of another network is not dialled again.
pub const FOREIGN_MEMORY: Duration = Duration::from_secs(5 * 60);
/// The second greeting follows so soon after the first: it brings what others announced meanwhile.
pub const SECOND_GREETING: Duration = Duration::from_secs(2);
/// Directories are compared again this often.
pub const GREETING_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Connections without use are kept this long: peers are few.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// How often other peers are looked for while connections are below [`TARGET_PEERS`].
pub const DISCOVERY_INTERVAL: Duration = Duration::from_secs(60);
/// How often the owner of the swarm looks at its clocks.
pub const TICK: Duration = Duration::from_millis(200);
/// Closing connections at shutdown may take this long.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// First delay before a peer is dialled again, in milliseconds.
pub const REDIAL_FIRST_MS: u64 = 1000;
/// Longest delay before a peer is dialled again, in milliseconds.
pub const REDIAL_CAP_MS: u64 = 20_000;
/// Units of the directory are dialled until there are this many connected peers.
pub const TARGET_PEERS: usize = 32;
/// Most dials begun at once.
pub const MAX_DIALS_PER_TICK: usize = 8;

/// Most connections being made to this node at once.
pub const MAX_PENDING_INCOMING: u32 = 32;
/// Most connections being made by this node at once.
pub const MAX_PENDING_OUTGOING: u32 = 64;
/// Most connections made by others; the rest of [`MAX_CONNECTIONS`] is kept for those that this node makes.
pub const MAX_INCOMING: u32 = 128;
/// Most connections made by this node.
pub const MAX_OUTGOING: u32 = 96;
/// Most connections in all.
pub const MAX_CONNECTIONS: u32 = 192;
/// Most connections with one peer: two that dial each other at once have two for a while.
pub const MAX_CONNECTIONS_PER_PEER: u32 = 4;
/// New connections are refused while this process uses more than this part of the memory.
pub const MAX_MEMORY_SHARE: f64 = 0.9;
/// Most streams of requests and answers on one connection.
pub const MAX_STREAMS: usize = 128;

/// Commands that wait for the owner of the swarm.
pub const COMMAND_QUEUE: usize = 1024;
/// Events that wait for the node.
pub const EVENT_QUEUE: usize = 1024;
/// Places in the event queue that gossip and requests leave free for news about peers.
pub const EVENT_RESERVE: usize = 128;
/// Most gossip messages without a verdict; beyond, gossip is ignored (repair fetches what was missed).
pub const MAX_UNJUDGED: usize = 4096;
/// Most requests of peers without an answer; beyond, they are answered Busy.
pub const MAX_UNANSWERED: usize = 512;
/// Most requests on their way to one peer; further ones wait.
pub const MAX_IN_FLIGHT: usize = 32;
/// Most requests that wait for one peer.
pub const MAX_WAITING: usize = 1024;
/// Most peers that are remembered for their quota or for another network.
pub const MAX_REMEMBERED: usize = 4096;

/// Most peers that are remembered because their units were found lying.
pub const MAX_ACCUSED: usize = 1024;
/// Most units in the directory.
pub const MAX_UNITS: usize = 4096;
/// Most units that may claim one peer.
pub const MAX_UNITS_PER_PEER: usize = 8;
/// Largest announcement item in bytes.
pub const MAX_ANNOUNCEMENT_ITEM_BYTES: usize = 16 * 1024;
/// Most announcements in one greeting.
pub const MAX_GREETING_ANNOUNCEMENTS: usize = 512;
/// Most addresses of one peer that are taken from identify.
pub const MAX_PEER_ADDRESSES: usize = 16;

/// Bytes that a gossip frame may have beyond its content: topic, protobuf fields.
pub const GOSSIP_FRAME_BYTES: usize = 1024;
/// libp2p-gossipsub 0.50 holds its limit of a frame against all that it has read, which can be a frame that lacks its
/// last byte and one read more; beyond, it closes the stream, and the sender never learns of it.
pub const GOSSIP_READ_BYTES: usize = 8 * 1024;
/// Most message ids in one offer of gossip ("I have") or in what is asked of one peer between heartbeats ("I want").
pub const MAX_GOSSIP_IDS: usize = 1000;
/// Largest control part of a gossip frame: [`MAX_GOSSIP_IDS`] ids of 34 bytes and their frame must fit, or the stream
/// is closed by the receiver.
pub const MAX_GOSSIP_CONTROL_BYTES: usize = 48 * 1024;
const _: () = assert!(MAX_GOSSIP_IDS * 34 + GOSSIP_FRAME_BYTES <= MAX_GOSSIP_CONTROL_BYTES);

/// Requests of one peer per second.
pub const REQUESTS_PER_SECOND: f64 = 4000.0;
/// Requests that one peer may have saved up.
pub const REQUEST_BURST: f64 = 8000.0;
/// Gossip messages from one peer per second.
pub const GOSSIP_PER_SECOND: f64 = 10_000.0;
/// Gossip messages that one peer may have saved up.
pub const GOSSIP_BURST: f64 = 40_000.0;
/// Gossip bytes from one peer per second.
pub const GOSSIP_BYTES_PER_SECOND: f64 = 16.0 * 1024.0 * 1024.0;
/// Gossip bytes that one peer may have saved up.
pub const GOSSIP_BYTES_BURST: f64 = 64.0 * 1024.0 * 1024.0;

/// A token bucket: fills at a rate up to a burst; whatever costs more than is left is over quota.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(per_second: f64, burst: f64, now: Instant) -> Bucket {
        Bucket { per_second, burst, tokens: burst, filled: now }
    }

    /// Takes the cost out if it is there; false when it is over quota.
    pub fn take(&mut self, cost: f64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        self.filled = now;
        let within = self.tokens >= cost;
        if within {
            self.tokens -= cost;
        }
        within
    }
}

/// What one peer may ask and say.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    requests: Bucket,
    gossip: Bucket,
    gossip_bytes: Bucket,
}

impl Quota {
    /// An unused quota.
    pub fn new(now: Instant) -> Quota {
        Quota {
            requests: Bucket::new(REQUESTS_PER_SECOND, REQUEST_BURST, now),
            gossip: Bucket::new(GOSSIP_PER_SECOND, GOSSIP_BURST, now),
            gossip_bytes: Bucket::new(GOSSIP_BYTES_PER_SECOND, GOSSIP_BYTES_BURST, now),
        }
    }

    /// Whether one more request is within it.
    pub fn request(&mut self, now: Instant) -> bool {
        self.requests.take(1.0, now)
    }

    /// Whether one more gossip message of so many bytes is within it.
    pub fn gossip(&mut self, bytes: usize, now: Instant) -> bool {
        self.gossip.take(1.0, now) && self.gossip_bytes.take(bytes as f64, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2.0, 3.0, start);
        assert_eq!([0; 4].map(|_| bucket.take(1.0, start)), [true, true, true, false]);
        let later = start + Duration::from_secs(1);
        assert_eq!([0; 3].map(|_| bucket.take(1.0, later)), [true, true, false]);
        let much_later = start + Duration::from_secs(1000);
        assert!(bucket.take(3.0, much_later), "it fills");
        assert!(!bucket.take(0.5, much_later), "but not beyond its burst");
        assert!(!bucket.take(0.5, start), "a clock that goes back fills nothing");
    }

    #[test]
    fn gossip_is_limited_by_bytes_too() {
        let now = Instant::now();
        let mut quota = Quota::new(now);
        let large = GOSSIP_BYTES_BURST as usize / 2;
        assert!(quota.gossip(large, now) && quota.gossip(large, now));
        assert!(!quota.gossip(large, now));
        assert!(quota.request(now), "requests are counted apart");
    }
}
