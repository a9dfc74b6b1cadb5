//! Named facts that must hold in a running network, whatever was done in it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::client::Client;
use crate::cluster::Cluster;
use crate::node::BETWEEN_LOOKS;

/// Longest wait for a compute unit to have a slot.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);

/// Every compute unit has the same outcome chain for every slot of these processes, and it attested each of them or a
/// later one. Gives how many slots were compared.
pub(crate) async fn outcome_chains_are_equal(cluster: &Cluster, processes: &[String]) -> Result<u64> {
    let scheduler = Client::new(&cluster.first("su")?.http_url)?;
    let mut compared = 0;
    for process in processes {
        let slots = scheduler.slots(process).await?;
        for slot in 0..slots {
            let mut first: Option<(String, String)> = None;
            for node in cluster.of_role("cu") {
                let chain = chain(&Client::new(&node.http_url)?, process, slot, &node.name).await?;
                match &first {
                    None => first = Some((node.name.clone(), chain)),
                    Some((_, expected)) if *expected == chain => {}
                    Some((name, expected)) => {
                        bail!(
                            "slot {slot} of {process}: {name} has outcome chain {expected}, {} has {chain}",
                            node.name
                        )
                    }
                }
            }
            compared += 1;
        }
        let last = Client::new(&cluster.first("none")?.http_url)?.slot(process, slots - 1).await?;
        let attested = last["attestations"].as_array().map(Vec::as_slice).unwrap_or_default();
        let honest = |one: &&Value| cluster.of_role("cu").any(|node| one["unit"] == node.address.as_str());
        let attested: Vec<&Value> = attested.iter().filter(honest).collect();
        if attested.is_empty() || attested.iter().any(|one| one["agrees"] != true) {
            bail!("the gateway's outcome of the last slot of {process} is not what was attested: {last}");
        }
    }
    Ok(compared)
}

/// The outcome chain of a slot on one node, waited for.
pub(crate) async fn chain(client: &Client, process: &str, slot: u64, name: &str) -> Result<String> {
    let deadline = Instant::now() + CATCH_UP_LIMIT;
    loop {
        let found = client.slot(process, slot).await;
        if let Ok(found) = &found
            && let Some(chain) = found["outcome_chain"].as_str()
        {
            return Ok(chain.to_string());
        }
        if Instant::now() > deadline {
            bail!("{name} has no outcome of slot {slot} of {process}: {found:?}");
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}
