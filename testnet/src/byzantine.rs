//! A compute unit that lies, for local networks: `testnet/up --byzantine-cu N` starts some, to show that they are
//! found. It is a program of its own and no part of `ao-node`. It speaks the network's protocol well; what it says is
//! wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ao_node::key_file;
use ao_node::net::{Net, NetConfig, NetEvent, NetMetrics, PeerId, PeerKey, Verdict};
use ao_protocol::announcement::Role;
use ao_protocol::attestation::{Attestation, Claim};
use ao_protocol::attested::AttestedBytes;
use ao_protocol::checkpoint::Manifest;
use ao_protocol::commit::Commit;
use ao_protocol::compute;
use ao_protocol::entry::Entry;
use ao_protocol::id::{Digest, Id};
use ao_protocol::log::{Batch, Durability, Log, MemoryLog};
use ao_protocol::module::LUA_FORMAT;
use ao_protocol::network::Network;
use ao_protocol::outcome::{OutboxEntry, Outcome};
use ao_protocol::repair::{Accepted, accept};
use ao_protocol::wallet::{Signer, Wallet};
use ao_protocol::wire::{self, Answer, EntryBytes, Gossip, Request, Response, shard};
use clap::{Parser, ValueEnum};
use serde_json::json;

/// How late a unit is that lies by being late.
const LATE: Duration = Duration::from_secs(3);
/// Most slots that it makes up in one go.
const AT_ONCE: usize = 64;

/// What it says that the state of a process is.
const WRONG_STATE: &[u8] = b"no state of any process";

fn wrong_state() -> Manifest {
    Manifest::of(WRONG_STATE)
}

/// How it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Lie {
    /// It says that something else came out, before anybody can have computed it.
    Outputs,
    /// It says that processes sent what they did not send.
    Outboxes,
    /// It attests two outcomes of the same slot.
    Contradiction,
    /// It says what others said before, and computes nothing.
    Copy,
    /// The same, late.
    Delay,
    /// It says nothing at all.
    Silence,
    /// It attests other states than others rebuilt, and sends wrong ones.
    Checkpoints,
}

/// A compute unit that lies: a part of local test networks
#[derive(Debug, Parser)]
struct Arguments {
    /// How it lies
    #[arg(long)]
    lie: Lie,
    /// Folder of its keys
    #[arg(long)]
    data: PathBuf,
    /// The network file
    #[arg(long)]
    network: PathBuf,
    /// A peer to join
    #[arg(long)]
    join: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("error: {cause:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let text = std::fs::read_to_string(&arguments.network)
        .with_context(|| format!("{} can't be read", arguments.network.display()))?;
    let network = Network::from_json(&text)?;
    let wallet = Arc::new(key_file::load_or_create(&arguments.data.join("wallet.json"))?.0);
    let (net, mut events) = Net::start(NetConfig {
        key: PeerKey::load_or_create(&arguments.data.join("peer.key"))?,
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        join: vec![arguments.join.clone()],
        network: Some(network.clone()),
        wallet: wallet.clone(),
        roles: vec![Role::Cu],
        http_url: None,
        dev_chain: false,
        follow_shards: u16::MAX,
        mdns: false,
        metrics: NetMetrics::default(),
    })
    .await?;
    println!("address {}", wallet.address());
    println!("peer    {}", net.listen_addresses().await.first().map_or("", String::as_str));
    let (log, shown) = (MemoryLog::new(), BTreeMap::new());
    let mut liar = Liar { lie: arguments.lie, net, wallet, network: network.hash(), log, shown };
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => liar.on_event(event).await?,
                None => return Ok(()),
            },
            _ = terminated.recv() => return Ok(()),
        }
    }
}

struct Liar {
    lie: Lie,
    net: Net,
    wallet: Arc<Wallet>,
    network: Digest,
    log: MemoryLog,
    /// The last slot of each process that it said something about.
    shown: BTreeMap<Id, u64>,
}

impl Liar {
    async fn on_event(&mut self, event: NetEvent) -> Result<()> {
        match event {
            NetEvent::Gossip { from, gossip, ticket } => {
                // Whoever forwarded wrong things would be noticed for that.
                self.net.verdict(ticket, Verdict::Ignore);
                match gossip {
                    Gossip::Entries(entries) => self.take(&from, entries).await?,
                    Gossip::Attestations(attested) => self.hear(attested),
                    _ => {}
                }
            }
            NetEvent::Request { request, reply, .. } => reply.send(self.answer(request)?),
            NetEvent::Connected(peer) => self.catch_up(&peer).await?,
            NetEvent::Disconnected(_) | NetEvent::NetworkLearned(_) => {}
        }
        Ok(())
    }

    /// What was scheduled before it was there.
    async fn catch_up(&mut self, peer: &PeerId) -> Result<()> {
        if let Ok(Response::Tips(tips)) = self.net.request(peer, &Request::Tips { after: None }).await {
            for tip in tips {
                self.fetch(peer, tip.process).await?;
            }
        }
        Ok(())
    }

    async fn fetch(&mut self, peer: &PeerId, process: Id) -> Result<()> {
        loop {
            let from = self.log.tip(&process)?.map_or(0, |tip| tip.slot + 1);
            match self.net.request(peer, &Request::Range { process, from }).await {
                Ok(Response::Range(entries)) if !entries.is_empty() => {
                    if self.keep(entries)?.is_some() || self.log.tip(&process)?.is_none_or(|tip| tip.slot < from) {
                        return self.make_up(&process).await;
                    }
                }
                _ => return self.make_up(&process).await,
            }
        }
    }

    async fn take(&mut self, from: &PeerId, entries: Vec<EntryBytes>) -> Result<()> {
        let process = entries.first().and_then(|first| Entry::verify(first).ok()).map(|entry| entry.process());
        if let Some(process) = self.keep(entries)? {
            return self.fetch(from, process).await;
        }
        match process {
            Some(process) => self.make_up(&process).await,
            None => Ok(()),
        }
    }

    /// Keeps entries; the process whose slots before them are missing, if so.
    fn keep(&self, entries: Vec<EntryBytes>) -> Result<Option<Id>> {
        for bytes in entries {
            let Ok(entry) = Entry::verify(&bytes) else { return Ok(None) };
            let process = entry.process();
            let mut batch = Batch::new();
            if let Ok(Accepted::Ahead) = accept(&self.log, &mut batch, entry)? {
                return Ok(Some(process));
            }
            self.log.commit(batch, Durability::Relaxed)?;
        }
        Ok(None)
    }

    /// Makes up outcomes of slots that nobody has computed yet.
    async fn make_up(&mut self, process: &Id) -> Result<()> {
        if !matches!(self.lie, Lie::Outputs | Lie::Outboxes) {
            return Ok(());
        }
        loop {
            let jobs = compute::next(&self.log, process, AT_ONCE)?;
            let Some(last) = jobs.last().map(|job| (job.slot, job.assignment)) else { return Ok(()) };
            let evaluated = jobs.into_iter().map(|job| (job.clone(), self.made_up(&job.process, job.slot))).collect();
            self.log.commit(compute::record(evaluated), Durability::Relaxed)?;
            let Some(outcome_chain) = self.log.computed(process)?.map(|computed| computed.chain) else { return Ok(()) };
            let (slot, assignment) = last;
            let claim = Claim {
                network: self.network,
                format: LUA_FORMAT.to_string(),
                process: *process,
                slot,
                assignment,
                outcome_chain,
                checkpoint: None,
            };
            self.say(claim).await?;
        }
    }

    fn made_up(&self, process: &Id, slot: u64) -> Outcome {
        let output =
            json!({ "data": format!("a lie about slot {slot}"), "print": true, "prompt": "lie> " }).to_string();
        let stolen = json!({
            "Target": process.to_string(),
            "Anchor": format!("{slot:032}"),
            "Tags": [{ "name": "Action", "value": "Eval" }, { "name": "Lie", "value": "stolen" }],
        });
        let messages = match self.lie {
            Lie::Outboxes => vec![OutboxEntry { fields: stolen.to_string(), data: Some(b"STOLEN = true".to_vec()) }],
            _ => Vec::new(),
        };
        Outcome { output, messages, ..Outcome::default() }
    }

    /// Commits to a claim and shows it, with the outcomes where there are some.
    async fn say(&mut self, claim: Claim) -> Result<()> {
        let (process, slot) = (claim.process, claim.slot);
        let attestation = claim.sign(&*self.wallet)?;
        let commit = Commit::to(&attestation, &*self.wallet)?;
        self.publish(&process, Gossip::Commits(vec![commit.to_bytes()])).await;
        let outcomes = self.log.outcome(&process, slot)?.into_iter().collect();
        let attested = AttestedBytes { attestation: attestation.to_bytes(), outcomes };
        self.publish(&process, Gossip::Attestations(vec![attested])).await;
        self.shown.insert(process, slot);
        Ok(())
    }

    /// What it hears others say.
    fn hear(&mut self, attested: Vec<AttestedBytes>) {
        for bytes in attested {
            let Ok(attestation) = Attestation::verify(&bytes.attestation) else { continue };
            let mut claim = attestation.claim().clone();
            if self.lie == Lie::Checkpoints && claim.checkpoint.is_some() && attestation.unit() != self.wallet.address()
            {
                claim.checkpoint = Some(wrong_state().hash());
                self.repeat(vec![claim], Duration::ZERO);
                continue;
            }
            let is_new = self.shown.get(&claim.process).is_none_or(|shown| *shown < claim.slot);
            if attestation.unit() == self.wallet.address() || !is_new {
                continue;
            }
            let late = match self.lie {
                Lie::Copy | Lie::Contradiction => Duration::ZERO,
                Lie::Delay => LATE,
                Lie::Outputs | Lie::Outboxes | Lie::Silence | Lie::Checkpoints => continue,
            };
            self.shown.insert(claim.process, claim.slot);
            let mut claims = vec![claim.clone()];
            if self.lie == Lie::Contradiction {
                claims.push(Claim { outcome_chain: Digest::from([0x11; 32]), ..claim });
            }
            self.repeat(claims, late);
        }
    }

    /// Attests claims about one process in its own name, in one message: after the first that is found to be wrong
    /// nobody might listen any more.
    fn repeat(&self, claims: Vec<Claim>, late: Duration) {
        let (net, wallet) = (self.net.clone(), self.wallet.clone());
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            let Some(process) = claims.first().map(|claim| claim.process) else { return };
            let signed: Result<Vec<_>, _> = claims.into_iter().map(|claim| claim.sign(&*wallet)).collect();
            let Ok(signed) = signed else { return };
            let attested = signed.iter().map(|attestation| AttestedBytes::bare(attestation.to_bytes())).collect();
            let _ = net.publish(shard(&process), &Gossip::Attestations(attested)).await;
        });
    }

    async fn publish(&self, process: &Id, gossip: Gossip) {
        // That nobody listens yet is no harm.
        let _ = self.net.publish(shard(process), &gossip).await;
    }

    fn answer(&self, request: Request) -> Result<Response> {
        Ok(match request {
            Request::Outcomes { process, from, to } if self.lie != Lie::Silence => {
                let mut records = Vec::new();
                for slot in (from..=to).take(AT_ONCE) {
                    let Some(record) = self.log.outcome(&process, slot)? else { break };
                    records.push(record);
                }
                Response::Outcomes(records)
            }
            // Whoever lets it compute for them gets a lie, too.
            Request::Call(_) if self.lie != Lie::Silence => {
                let lie = json!({ "Output": { "data": "a lie" }, "Messages": [], "Spawns": [], "Assignments": [] });
                let body = lie.to_string().into_bytes();
                Response::Answer(Answer { status: 200, kind: "application/json".into(), body })
            }
            Request::Checkpoint { piece, .. } if self.lie == Lie::Checkpoints => {
                Response::Checkpoint(Some(match piece {
                    None => wire::encode(&wrong_state()),
                    Some(_) => WRONG_STATE.to_vec(),
                }))
            }
            Request::Tips { .. } => Response::Tips(Vec::new()),
            Request::Item(_) | Request::Location(_) => Response::Item(None),
            _ => Response::Busy("busy with other things".into()),
        })
    }
}
