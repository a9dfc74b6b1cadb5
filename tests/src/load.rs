//! Load for benchmarks: many messages of one user to one process, straight to its scheduler.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::nodes::{TestNode, User};

/// Longest wait of a benchmark for one thing.
pub const LIMIT: Duration = Duration::from_secs(30 * 60);

/// What is sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// So many messages.
    pub messages: usize,
    /// Requests under way at once.
    pub senders: usize,
    /// Messages a second; as fast as it goes when nothing is said.
    pub rate: Option<f64>,
    /// The action of all of them.
    pub action: &'static str,
    /// Their data.
    pub data: Vec<u8>,
}

impl Load {
    /// Sends all of it; each message has its slot then.
    ///
    /// # Panics
    /// When one is refused.
    pub async fn send(self, user: &Arc<User>, scheduler: &TestNode, process: &str) {
        let (load, began) = (Arc::new(self), Instant::now());
        let start = |sender: usize| {
            let (load, user) = (load.clone(), user.clone());
            let (process, url) = (process.to_string(), format!("{}/su", scheduler.url));
            tokio::spawn(async move {
                let client = reqwest::Client::builder().no_proxy().build().unwrap_or_else(|cause| panic!("{cause}"));
                for n in (sender..load.messages).step_by(load.senders) {
                    if let Some(rate) = load.rate {
                        tokio::time::sleep_until((began + Duration::from_secs_f64(n as f64 / rate)).into()).await;
                    }
                    let item = user.message(&process, &[("Action", load.action)], &load.data);
                    let sent = client.post(&url).body(item.bytes().to_vec()).send().await;
                    assert!(sent.is_ok_and(|answer| answer.status() == 201), "a message was refused");
                }
            })
        };
        let senders: Vec<_> = (0..load.senders).map(start).collect();
        for sender in senders {
            sender.await.unwrap_or_else(|cause| panic!("{cause}"));
        }
    }
}

/// Waits for a condition for as long as a benchmark may take.
///
/// # Panics
/// When it does not come true within [`LIMIT`].
pub async fn until(what: &str, mut ready: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !ready().await {
        assert!(began.elapsed() < LIMIT, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
