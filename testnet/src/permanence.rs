//! The last act of the tour: every node but the gateway, which plays Arweave, loses its log; the schedulers rebuild
//! theirs from there, the others from them.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::checks;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::node::{BETWEEN_LOOKS, program};

/// Longest wait until all is on Arweave.
const MIRROR_LIMIT: Duration = Duration::from_secs(60);

/// Takes all logs away and brings them back; the outcome chains must be the same. Gives what is to be told.
pub(crate) async fn lose_and_restore(cluster: &mut Cluster, processes: &[(String, String)]) -> Result<Vec<String>> {
    let mut told = Vec::new();
    let mut before = Vec::new();
    for (process, name) in processes {
        let slots = Client::new(&cluster.first("su")?.http_url)?.slots(process).await?;
        let unit = cluster.first("cu")?;
        let chain = checks::chain(&Client::new(&unit.http_url)?, process, slots - 1, &unit.name).await?;
        before.push((process, name, slots, chain));
    }
    let expected: u64 = before.iter().map(|(_, _, slots, _)| slots).sum();
    for scheduler in cluster.of_role("su") {
        // All processes of the tour are the first one's.
        let least = if scheduler.name == cluster.first("su")?.name { expected } else { 0 };
        let landed = mirrored(&Client::new(&scheduler.http_url)?, least).await?;
        told.push(format!("{} has {landed} slots on Arweave", scheduler.name));
    }
    let gateway = cluster.first("none")?.http_url.clone();
    for node in cluster.nodes.iter_mut().filter(|node| node.role != "none") {
        node.kill();
        let log = node.folder.join("log");
        // Some liars keep none.
        if log.exists() {
            std::fs::remove_dir_all(&log).with_context(|| format!("{} can't be deleted", log.display()))?;
        }
    }
    told.push("kill -9, and the logs of all nodes but the gateway are deleted".to_string());
    for scheduler in cluster.of_role("su") {
        told.push(restore(&scheduler.name, &gateway, &scheduler.address, &scheduler.folder)?);
    }
    cluster.restart_ended().await?;
    cluster.ready().await?;
    for (process, name, slots, chain) in before {
        for unit in cluster.of_role("cu") {
            let now = checks::chain(&Client::new(&unit.http_url)?, process, slots - 1, &unit.name).await?;
            if now != chain {
                bail!("slot {} of {name} had outcome chain {chain}; {} has {now} now", slots - 1, unit.name);
            }
        }
        told.push(format!("{name}: {slots} slots, the same outcome chain on all units"));
    }
    Ok(told)
}

/// Waits until all of a scheduler's slots are on Arweave; says how many.
async fn mirrored(scheduler: &Client, least: u64) -> Result<u64> {
    let deadline = Instant::now() + MIRROR_LIMIT;
    loop {
        let mirror = scheduler.mirror().await?;
        let landed = mirror["landed"]["slots"].as_u64().unwrap_or(0);
        let open = mirror["bundles"].as_array().map_or(1, Vec::len);
        if landed >= least && open == 0 && mirror["waiting"]["slots"] == 0 {
            return Ok(landed);
        }
        if Instant::now() > deadline {
            bail!("not all of the log is on Arweave after {MIRROR_LIMIT:?}: {mirror}");
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

fn restore(name: &str, gateway: &str, scheduler: &str, folder: &std::path::Path) -> Result<String> {
    let mut command = Command::new(program()?);
    command.args(["restore", "--json", "--arweave", gateway, "--scheduler", scheduler, "--data"]).arg(folder);
    let output = command.output().context("ao-node restore can't be run")?;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if !output.status.success() {
        bail!("ao-node restore failed: {report} {}", String::from_utf8_lossy(&output.stderr));
    }
    let processes = report["processes"].as_object().map_or(0, serde_json::Map::len);
    Ok(format!(
        "{name}: ao-node restore brought {} slots of {processes} processes; bundles: {}, time: {:.2} s",
        report["slots"],
        report["bundles"],
        report["seconds"].as_f64().unwrap_or(0.0)
    ))
}
