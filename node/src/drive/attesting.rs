//! The compute unit's word: attests what was evaluated, commits first where several units must agree, and tells
//! everybody. What is attested together and when is the rule's.

use std::collections::BTreeMap;
use std::time::Duration;

use ao_protocol::attesting::{Act, AttestError, Attesting};
use ao_protocol::compute::Attestor;
use ao_protocol::log::{Durability, Log, LogError};
use ao_protocol::wallet::Signer;
use ao_protocol::wire::{Gossip, MAX_GOSSIP_BYTES, shard};
use tokio::sync::broadcast;
use tracing::{debug, warn};

use super::{Change, World, now_ms};

/// Longest wait between two looks.
const IDLE: Duration = Duration::from_secs(5);
/// Wait after the wallet failed.
const WALLET_RETRY: Duration = Duration::from_secs(10);
/// What an attestation takes in gossip beside its outcomes, at most: an RSA key and signature, and the claim.
const ATTESTATION_BYTES: usize = 2048;

/// Attests until the log fails.
pub async fn run(world: World) {
    while world.goes_on(attest(&world).await).await {}
}

async fn attest(world: &World) -> Result<(), LogError> {
    let mut changes = world.changes();
    let mut attesting = Attesting::new();
    look_at_everything(world, &mut attesting)?;
    loop {
        let now = now_ms();
        let attestor = Attestor { network: world.network().hash(), signer: &**world.wallet() };
        let acted = {
            let _steady = world.log().steady();
            let acted = attesting.act(world.log(), &world.trust(), &attestor, &mut world.commits(), now);
            acted.and_then(|(batch, acts)| {
                if !batch.is_empty() {
                    world.log().commit(batch, Durability::Relaxed)?;
                }
                Ok(acts)
            })
        };
        match acted {
            Ok(acts) => send(world, acts),
            Err(AttestError::Log(cause)) => return Err(cause),
            Err(AttestError::Wallet(cause)) => {
                warn!(%cause, "nothing can be attested");
                tokio::time::sleep(WALLET_RETRY).await;
                look_at_everything(world, &mut attesting)?;
            }
        }
        let due = attesting.due_ms(now_ms()).map(|due| Duration::from_millis(due.saturating_sub(now_ms())));
        let wait = due.unwrap_or(IDLE).clamp(Duration::from_millis(1), IDLE);
        let Ok(change) = tokio::time::timeout(wait, changes.recv()).await else { continue };
        // What else has come is looked at at once.
        let mut next = Some(change);
        while let Some(change) = next.take() {
            match change {
                Ok(Change::Outcome { process, evaluated, .. }) if evaluated > 0 => {
                    attesting.evaluated(process, evaluated)
                }
                Ok(Change::Rebuilt { process } | Change::Branches { process }) => attesting.evaluated(process, 0),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => look_at_everything(world, &mut attesting)?,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
            next = match changes.try_recv() {
                Ok(change) => Some(Ok(change)),
                Err(broadcast::error::TryRecvError::Lagged(count)) => {
                    Some(Err(broadcast::error::RecvError::Lagged(count)))
                }
                Err(_) => None,
            };
        }
    }
}

/// Processes whose outcomes were evaluated here and are not attested.
fn look_at_everything(world: &World, attesting: &mut Attesting) -> Result<(), LogError> {
    let (log, own) = (world.log(), world.wallet().address());
    for process in world.processes()? {
        let attested = log.last_attestation(&process, &own, u64::MAX)?.map(|seen| seen.attestation.claim().slot);
        if log.evaluated(&process)? > attested {
            attesting.evaluated(process, 0);
        }
    }
    Ok(())
}

/// Gossips what was made, shard by shard, as much at once as fits.
fn send(world: &World, acts: Vec<Act>) {
    let mut shards: BTreeMap<u8, Vec<Gossip>> = BTreeMap::new();
    let mut room: BTreeMap<u8, usize> = BTreeMap::new();
    for act in acts {
        match act {
            Act::Commit(commit) => {
                let messages = shards.entry(shard(&commit.process())).or_default();
                match messages.iter_mut().find_map(|gossip| match gossip {
                    Gossip::Commits(commits) if commits.len() < MAX_GOSSIP_BYTES / ATTESTATION_BYTES => Some(commits),
                    _ => None,
                }) {
                    Some(commits) => commits.push(commit.to_bytes()),
                    None => messages.push(Gossip::Commits(vec![commit.to_bytes()])),
                }
            }
            Act::Show { attested, first } => {
                let claim = attested.attestation().claim();
                world.changed(Change::Attestation { process: claim.process, slot: claim.slot });
                let shard = shard(&claim.process);
                let bytes = attested.to_bytes(first);
                let size =
                    ATTESTATION_BYTES + bytes.outcomes.iter().map(|record| record.outcome.len() + 128).sum::<usize>();
                let (messages, left) = (shards.entry(shard).or_default(), room.entry(shard).or_default());
                match messages.iter_mut().rev().find_map(|gossip| match gossip {
                    Gossip::Attestations(attestations) if *left >= size => Some(attestations),
                    _ => None,
                }) {
                    Some(attestations) => {
                        attestations.push(bytes);
                        *left -= size;
                    }
                    None => {
                        messages.push(Gossip::Attestations(vec![bytes]));
                        *left = MAX_GOSSIP_BYTES.saturating_sub(size + ATTESTATION_BYTES);
                    }
                }
            }
        }
    }
    let net = world.net().clone();
    if shards.is_empty() {
        return;
    }
    tokio::spawn(async move {
        for (shard, messages) in shards {
            for gossip in messages {
                // Who misses it asks for it.
                if let Err(cause) = net.publish(shard, &gossip).await {
                    debug!(%cause, "what was attested was not published");
                }
            }
        }
    });
}
