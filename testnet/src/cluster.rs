//! The network as a whole: wallets and network file first, then one gateway, then all others joined to it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ao_protocol::id::Address;
use ao_protocol::network::Network;
use ao_protocol::wallet::{Signer, Wallet};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use crate::client::Client;
use crate::node::{BETWEEN_LOOKS, Node, Start, program, terminate};
use crate::testnet_file::{NodeEntry, TestnetFile};

/// Longest wait until all nodes see each other.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for background nodes to end.
const DOWN_LIMIT: Duration = Duration::from_secs(10);
/// The public development wallet, as it is committed.
const DEVELOPMENT_WALLET: &str = include_str!("../dev-wallet.json");

/// The role of a compute unit that lies, here.
pub(crate) const LIAR: &str = "liar";
/// How the first, the second and so on lies, as `ao-byzantine-cu` names it.
const LIES: [&str; 7] = ["outputs", "contradiction", "outboxes", "copy", "delay", "silence", "checkpoints"];

/// Whether the liar of this name says something that can be shown to be wrong; others are late, copy, or say nothing.
pub(crate) fn attests_wrong(name: &str) -> bool {
    let number = name.strip_prefix("liar-").and_then(|number| number.parse::<u16>().ok());
    number.is_some_and(|number| ["outputs", "contradiction", "outboxes"].contains(&lie(number)))
}

fn lie(number: u16) -> &'static str {
    LIES[usize::from(number.saturating_sub(1)) % LIES.len()]
}

/// What is to be started.
pub(crate) struct Plan {
    pub(crate) mu: u16,
    pub(crate) su: u16,
    pub(crate) cu: u16,
    /// Compute units that lie.
    pub(crate) liars: u16,
    pub(crate) base_port: u16,
    pub(crate) data: PathBuf,
}

/// A running network.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) module: String,
    data: PathBuf,
}

impl Plan {
    /// Name, role and HTTP port of each node, the gateway first.
    fn nodes(&self) -> Vec<(String, &'static str, u16)> {
        let port = |above: u16, number: u16| match (self.base_port, number) {
            (0, _) | (_, 2..) => 0,
            (base, _) => base.saturating_add(above),
        };
        let mut nodes = vec![("gateway".to_string(), "none", port(0, 1))];
        for (role, count, above) in [("mu", self.mu, 2), ("su", self.su, 3), ("cu", self.cu, 4)] {
            nodes.extend((1..=count).map(|number| (format!("{role}-{number}"), role, port(above, number))));
        }
        nodes
    }

    /// Name and way to lie of each compute unit that lies.
    fn liars(&self) -> Vec<(String, &'static str)> {
        (1..=self.liars).map(|number| (format!("liar-{number}"), lie(number))).collect()
    }
}

impl Cluster {
    /// Starts a network and waits until every node sees every other.
    ///
    /// When this fails, or is dropped before it is done, the nodes that were started are killed.
    pub(crate) async fn start(plan: &Plan) -> Result<Cluster> {
        std::fs::create_dir_all(&plan.data).with_context(|| format!("{} can't be made", plan.data.display()))?;
        let data = plan.data.canonicalize()?;
        if let Some(running) = TestnetFile::read(&data)?
            && let Some(node) = running.running().next()
        {
            let folder = plan.data.display();
            bail!(
                "{} of the network in {folder} is still running; stop it with: testnet/down --data {folder}",
                node.name
            );
        }
        let network = network_file(plan, &data)?;
        let wallet = data.join("dev-wallet.json");
        std::fs::write(&wallet, DEVELOPMENT_WALLET)?;
        let mut nodes: Vec<Node> = Vec::new();
        for (name, role, port) in plan.nodes() {
            let gateway = nodes.first().map(|gateway| (gateway.multiaddr.clone(), gateway.http_url.clone()));
            let gateway = gateway.as_ref().map(|(multiaddr, url)| (multiaddr.as_str(), url.as_str()));
            let folder = data.join(&name);
            let start = Start { name: &name, role, folder, network: &network, port, gateway, wallet: &wallet };
            nodes.push(Node::start(start).await?);
        }
        let gateway = nodes.first().map(|gateway| gateway.multiaddr.clone()).unwrap_or_default();
        for (name, lie) in plan.liars() {
            nodes.push(Node::start_liar(&name, lie, data.join(&name), &network, &gateway).await?);
        }
        let mut cluster = Cluster { nodes, module: String::new(), data };
        cluster.ready().await?;
        cluster.write_file(&network)?;
        Ok(cluster)
    }

    /// Waits until every node sees every other and is connected.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let others = self.nodes.len() - 1;
        let deadline = Instant::now() + READY_LIMIT;
        for node in self.nodes.iter().filter(|node| node.role != LIAR) {
            loop {
                let peers = Client::new(&node.http_url)?.peers().await.unwrap_or_default();
                let units = peers.get("units").and_then(Value::as_array).map_or(0, Vec::len);
                if units >= others && peers.get("connected").and_then(Value::as_u64) > Some(0) {
                    self.module = peers.get("module").and_then(Value::as_str).unwrap_or_default().to_string();
                    break;
                }
                if Instant::now() > deadline {
                    bail!("{} sees only {units} of {others} other nodes: {}", node.name, node.last_words());
                }
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        }
        Ok(())
    }

    /// All nodes of a role.
    pub(crate) fn of_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Node> {
        self.nodes.iter().filter(move |node| node.role == role)
    }

    /// The first node of a role.
    pub(crate) fn first<'a>(&'a self, role: &'a str) -> Result<&'a Node> {
        self.of_role(role).next().with_context(|| format!("there is no node of role {role}"))
    }

    /// A node by its name.
    pub(crate) fn node(&mut self, name: &str) -> Result<&mut Node> {
        self.nodes.iter_mut().find(|node| node.name == name).with_context(|| format!("there is no node {name}"))
    }

    /// Starts the nodes again that ended, by whatever hand, and names them.
    pub(crate) async fn restart_ended(&mut self) -> Result<Vec<String>> {
        let mut started = Vec::new();
        for node in &mut self.nodes {
            if node.ended() {
                node.restart().await?;
                started.push(node.name.clone());
            }
        }
        Ok(started)
    }

    /// The node that is this unit, for people.
    pub(crate) fn name_of(&self, address: &str) -> String {
        let node = self.nodes.iter().find(|node| node.address == address);
        node.map_or_else(|| address.to_string(), |node| node.name.clone())
    }

    fn addresses(&self, role: &str) -> String {
        self.of_role(role).map(|node| node.address.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Addresses of all messengers, as a spawn's `Authority` tag.
    pub(crate) fn authority(&self) -> String {
        self.addresses("mu")
    }

    fn write_file(&self, network: &Path) -> Result<()> {
        let wallet = self.data.join("dev-wallet.json");
        let url = |role: &str| -> Result<String> { Ok(self.first(role)?.http_url.clone()) };
        let entry = |node: &Node| NodeEntry {
            name: node.name.clone(),
            roles: match node.role.as_str() {
                "none" => Vec::new(),
                LIAR => vec!["cu".to_string()],
                role => vec![role.to_string()],
            },
            pid: node.pid().unwrap_or_default(),
            peer_id: node.peer_id().to_string(),
            multiaddr: node.multiaddr.clone(),
            http_url: node.http_url.clone(),
            address: node.address.clone(),
            data_dir: node.folder.clone(),
        };
        let gateway_url = url("none")?;
        let file = TestnetFile {
            graphql_url: format!("{gateway_url}/graphql"),
            gateway_url,
            mu_url: url("mu")?,
            su_url: url("su")?,
            cu_url: url("cu")?,
            module: self.module.clone(),
            scheduler: self.first("su")?.address.clone(),
            authority: self.authority(),
            compute_authorities: [self.addresses("cu"), self.addresses(LIAR)].join(",").trim_matches(',').to_string(),
            wallet,
            network: network.to_path_buf(),
            nodes: self.nodes.iter().map(entry).collect(),
        };
        file.write(&self.data)
    }

    /// Prints who is where.
    pub(crate) fn print_table(&self) {
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header(["node", "http", "address", "multiaddr"]);
        for node in &self.nodes {
            table.add_row([&node.name, &node.http_url, &node.address, &node.multiaddr]);
        }
        println!("{table}");
    }

    /// Prints what to try next.
    pub(crate) fn print_hints(&self) {
        let program = program().map(|program| program.display().to_string()).unwrap_or_else(|_| "ao-node".into());
        let gateway = self.first("none").map(|node| node.http_url.clone()).unwrap_or_default();
        println!("\nAll nodes see each other; {} says how to reach them.", TestnetFile::path(&self.data).display());
        println!("Try next:");
        println!("  export AO_NODE={gateway}");
        println!("  {program} peers");
        println!("  {program} spawn --name neo      # prints the id of a new process");
        println!("  {program} eval PROCESS 'x = 42'");
        println!("  {program} eval PROCESS 'x'\n");
    }

    /// Waits until a node ends by itself, which is an error.
    pub(crate) async fn watch(&mut self) -> Result<()> {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if let Some(node) = self.nodes.iter_mut().find_map(|node| node.ended().then_some(node)) {
                bail!("{} ended by itself: {}", node.name, node.last_words());
            }
        }
    }

    /// Lets all nodes run on after this program.
    pub(crate) fn leave(mut self) {
        self.nodes.iter_mut().for_each(Node::leave);
    }

    /// Stops all nodes.
    pub(crate) async fn stop(&mut self) {
        for node in &self.nodes {
            node.pid().into_iter().for_each(terminate);
        }
        for node in &mut self.nodes {
            node.stop().await;
        }
        let _ = std::fs::remove_file(TestnetFile::path(&self.data));
    }
}

/// The messenger that the aos console names in every process that it spawns in legacy mode.
const LEGACY_AUTHORITY: &str = "fcoN_xJeisVsPXA-trzVAuIiqO3ydLQxM-L4XbrQKzY";

/// Makes the wallets of all nodes and the network file that names them; what is there is kept.
fn network_file(plan: &Plan, data: &Path) -> Result<PathBuf> {
    let mut network = Network::open("testnet");
    network.open = false;
    for (name, role, _) in plan.nodes() {
        let folder = data.join(&name);
        std::fs::create_dir_all(&folder)?;
        let address = unit_wallet(&folder.join("wallet.json"))?;
        match role {
            "mu" => network.messengers.push(address),
            "su" => network.schedulers.push(address),
            "cu" => network.compute_units.push(address),
            _ => network.dev_chain = Some(address),
        }
    }
    for (name, _) in plan.liars() {
        let folder = data.join(&name);
        std::fs::create_dir_all(&folder)?;
        // They are trusted as others are: nobody knows yet.
        network.compute_units.push(unit_wallet(&folder.join("wallet.json"))?);
    }
    network.aliases.insert(LEGACY_AUTHORITY.to_string(), network.messengers.clone());
    let path = data.join("network.json");
    std::fs::write(&path, network.to_json()).with_context(|| format!("{} can't be written", path.display()))?;
    Ok(path)
}

/// The address of a unit's wallet, made by the node program itself if it is not there.
fn unit_wallet(path: &Path) -> Result<Address> {
    if !path.exists() {
        let made = Command::new(program()?).args(["wallet", "new", "--wallet"]).arg(path).output()?;
        if !made.status.success() {
            bail!("a wallet can't be made: {}", String::from_utf8_lossy(&made.stderr));
        }
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    Ok(Wallet::from_jwk(&text).with_context(|| format!("{}", path.display()))?.address())
}

/// Stops a network that runs in the background.
pub(crate) async fn down(data: &Path) -> Result<()> {
    let Some(file) = TestnetFile::read(data)? else {
        bail!("no network runs in {}: there is no testnet.json", data.display());
    };
    for node in file.running() {
        println!("stopping {}", node.name);
        terminate(node.pid);
    }
    let deadline = Instant::now() + DOWN_LIMIT;
    while file.running().next().is_some() {
        if Instant::now() > deadline {
            let names: Vec<&str> = file.running().map(|node| node.name.as_str()).collect();
            bail!("{} did not stop within {DOWN_LIMIT:?}", names.join(", "));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    std::fs::remove_file(TestnetFile::path(data))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(base_port: u16) -> Plan {
        Plan { mu: 1, su: 1, cu: 2, liars: 0, base_port, data: PathBuf::new() }
    }

    #[test]
    fn ports_follow_the_habit_and_further_nodes_take_free_ones() {
        let ports = |base| plan(base).nodes().iter().map(|(_, _, port)| *port).collect::<Vec<_>>();
        assert_eq!(ports(4000), [4000, 4002, 4003, 4004, 0]);
        assert_eq!(ports(0), [0, 0, 0, 0, 0]);
        let names: Vec<String> = plan(0).nodes().into_iter().map(|(name, _, _)| name).collect();
        assert_eq!(names, ["gateway", "mu-1", "su-1", "cu-1", "cu-2"]);
    }
}
