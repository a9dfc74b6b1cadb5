//! The guided tour: what ao can do, shown on this network with real input, every step verified.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ao_protocol::item::ItemBuilder;
use ao_protocol::wallet::Wallet;
use serde_json::Value;

use crate::checks;
use crate::client::{Client, sign};
use crate::cluster::{Cluster, LIAR, attests_wrong};
use crate::permanence;

/// Longest wait for a message from one process to another.
const DELIVERY_LIMIT: Duration = Duration::from_secs(30);
/// Pause before a line is typed again that waits for a message.
const TYPE_AGAIN: Duration = Duration::from_millis(100);
/// What the chatroom runs.
const CHATROOM: &str = include_str!("chatroom.lua");

struct Tour<'a> {
    cluster: &'a mut Cluster,
    wallet: Wallet,
    processes: Vec<(String, String)>,
    step: u32,
    colours: bool,
}

/// Runs the tour; an error says which step failed.
pub(crate) async fn run(cluster: &mut Cluster) -> Result<()> {
    let began = Instant::now();
    let seed = rand::random();
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let wallet = Wallet::ed25519_from_seed(seed);
    let mut tour = Tour { cluster, wallet, processes: Vec::new(), step: 0, colours };
    tour.steps().await.with_context(|| format!("step {} of the tour failed", tour.step))?;
    println!("\nAll {} steps verified in {:.1} s.", tour.step, began.elapsed().as_secs_f64());
    Ok(())
}

impl Tour<'_> {
    async fn steps(&mut self) -> Result<()> {
        self.title("Two processes are spawned: Neo through the messenger, Trinity through the gateway");
        let neo = self.spawn("Neo", "mu").await?;
        let trinity = self.spawn("Trinity", "none").await?;

        self.title("State is permanent: a variable is set, and read back in a later message");
        self.type_in(&neo, "x = 42", "none").await?;
        self.expect(&neo, "x", "cu", "42").await?;

        self.title("Neo writes to Trinity; the messenger delivers what the process sent");
        let hello = "Hi Trinity, nice to meet you!";
        let before = self.number(&trinity, "#Inbox").await?;
        self.type_in(&neo, &format!("Send({{ Target = \"{trinity}\", Data = \"{hello}\" }})"), "none").await?;
        self.wait_until(&trinity, "#Inbox", &(before + 1).to_string()).await?;
        self.expect(&trinity, "Inbox[#Inbox].Data", "none", hello).await?;

        self.title("A handler on Trinity answers, and Neo hears it");
        let handler = "Handlers.add(\"greet\", Handlers.utils.hasMatchingTag(\"Action\", \"Greet\"), \
                       function(msg) msg.reply({ Data = \"Hello \" .. msg.Data .. \", I am Trinity\" }) end)";
        self.type_in(&trinity, handler, "none").await?;
        let greet = format!("Send({{ Target = \"{trinity}\", Action = \"Greet\", Data = \"Neo\" }})");
        self.type_in(&neo, &greet, "none").await?;
        self.wait_until(&neo, "Inbox[#Inbox].Data", "Hello Neo, I am Trinity").await?;

        self.title("A chatroom relays a line to all its members");
        let room = self.spawn("Chatroom", "mu").await?;
        self.expect_quietly(&room, CHATROOM, "the chatroom is open", "(chatroom.lua)").await?;
        for member in [&neo, &trinity] {
            self.type_in(member, &format!("Send({{ Target = \"{room}\", Action = \"Register\" }})"), "none").await?;
            self.wait_until(member, "Inbox[#Inbox].Action", "Registered").await?;
        }

        self.title("One compute unit is killed with kill -9; the network goes on");
        let units = self.cluster.of_role("cu").count();
        match (units, self.quorum()) {
            (1, _) => self.say("there is only one, so it is left alone"),
            (honest, quorum) if honest <= quorum => self
                .say(&format!("{quorum} units have to agree and only {honest} do not lie, so none of them is killed")),
            _ => self.kill_one()?,
        }
        let line = "Send({ Target = ROOM, Action = \"Broadcast\", Data = \"is anybody out there?\" })";
        self.type_in(&neo, &line.replace("ROOM", &format!("\"{room}\"")), "none").await?;
        for member in [&neo, &trinity] {
            self.wait_until(member, "Inbox[#Inbox].Data", "is anybody out there?").await?;
        }

        self.title("The compute unit comes back and catches up");
        let began = Instant::now();
        for name in self.cluster.restart_ended().await? {
            let client = Client::new(&self.cluster.node(&name)?.http_url)?;
            for (process, called) in self.processes.clone() {
                let slots = self.scheduler()?.slots(&process).await?;
                checks::chain(&client, &process, slots - 1, &name).await?;
                self.say(&format!("{name} has all {slots} slots of {called}"));
            }
        }
        self.say(&format!("caught up within {} ms", began.elapsed().as_millis()));

        self.title("All compute units attest the same outcome chain for every slot");
        let processes: Vec<String> = self.processes.iter().map(|(process, _)| process.clone()).collect();
        let compared = checks::outcome_chains_are_equal(self.cluster, &processes).await?;
        self.say(&format!("{compared} slots of {} processes are equal on {units} units", processes.len()));
        if self.quorum() > 1 {
            self.find_liars(&neo).await?;
        }

        self.title("Every node but the gateway loses its log, and gets it back from Arweave");
        for line in permanence::lose_and_restore(self.cluster, &self.processes).await? {
            self.say(&line);
        }
        // The scheduler asks its followers before it goes on.
        self.wait_until(&neo, "x", "42").await?;
        Ok(())
    }

    /// So many units must agree that those that lie can't win: one more than there are of them.
    fn quorum(&self) -> usize {
        self.cluster.of_role(LIAR).count() + 1
    }

    fn title(&mut self, text: &str) {
        self.step += 1;
        let (bold, plain) = if self.colours { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
        println!("\n{bold}{}. {text}{plain}", self.step);
    }

    fn say(&self, text: &str) {
        println!("   {text}");
    }

    /// Every unit that attested something wrong is on record with what it signed; and none of it came through.
    async fn find_liars(&mut self, process: &str) -> Result<()> {
        self.title("The compute units that lie are found");
        let gateway = self.client("none")?;
        let began = Instant::now();
        let liars: Vec<(String, String)> =
            self.cluster.of_role(LIAR).map(|node| (node.name.clone(), node.address.clone())).collect();
        loop {
            let race = gateway.race(process).await?;
            let lies = race["lies"].as_array().map(Vec::as_slice).unwrap_or_default();
            let open: Vec<&String> = liars
                .iter()
                .filter(|(name, address)| attests_wrong(name) && lies.iter().all(|lie| lie["unit"] != address.as_str()))
                .map(|(name, _)| name)
                .collect();
            if !open.is_empty() {
                if began.elapsed() > DELIVERY_LIMIT {
                    bail!("nothing is on record against {open:?}: {race}");
                }
                tokio::time::sleep(TYPE_AGAIN).await;
                continue;
            }
            for (name, address) in &liars {
                let unit = race["units"].as_array().into_iter().flatten().find(|unit| unit["unit"] == address.as_str());
                let won = unit.and_then(|unit| unit["slots_won"].as_u64()).unwrap_or(0);
                let lie = lies.iter().find(|lie| lie["unit"] == address.as_str());
                let said = match lie.map(|lie| (lie["kind"].as_str(), &lie["slot"])) {
                    Some((Some("perjury"), slot)) => {
                        format!("attested two outcomes of slot {slot}: both are on record")
                    }
                    Some((_, slot)) => {
                        format!("attested a wrong outcome of slot {slot}: it is on record, with what is right")
                    }
                    None => "says nothing of its own".to_string(),
                };
                self.say(&format!("{name} {said}; it won {won} slots"));
                if won > 0 {
                    bail!("{name} won {won} slots");
                }
            }
            break;
        }
        self.expect(process, "tostring(STOLEN)", "none", "nil").await?;
        Ok(())
    }

    /// Kills the unit with the highest number; not the first, which this tour reads from.
    fn kill_one(&mut self) -> Result<()> {
        let victim = self.cluster.of_role("cu").last().map(|node| node.name.clone()).unwrap_or_default();
        self.cluster.node(&victim)?.kill();
        self.say(&format!("killed {victim}"));
        Ok(())
    }

    fn client(&self, role: &str) -> Result<Client> {
        Client::new(&self.cluster.first(role)?.http_url)
    }

    fn scheduler(&self) -> Result<Client> {
        self.client("su")
    }

    fn name(&self, process: &str) -> String {
        let known = self.processes.iter().find(|(id, _)| id == process);
        known.map_or_else(|| process.to_string(), |(_, name)| name.clone())
    }

    async fn spawn(&mut self, name: &str, role: &str) -> Result<String> {
        let item = ItemBuilder::new()
            .tag("Type", "Process")
            .tag("Name", name)
            .tag("Module", self.cluster.module.clone())
            .tag("Scheduler", self.cluster.first("su")?.address.clone())
            .tag("Authority", self.cluster.authority())
            .tag("Compute-Quorum", self.quorum().to_string())
            .data(b" ".to_vec());
        let item = sign(&self.wallet, item)?;
        let process = item.id().to_string();
        let began = Instant::now();
        self.client(role)?.submit(&item).await?;
        let result = self.client("none")?.result(&process, &process, self.quorum()).await?;
        let took = began.elapsed();
        refuse_error(&result)?;
        self.processes.push((process.clone(), name.to_string()));
        self.say(&format!("{name} is process {process}"));
        self.facts(&process, &process, took).await?;
        Ok(process)
    }

    /// Types a line into a process through the messenger and reads the result from a node of some role.
    async fn evaluate(&self, process: &str, lua: &str, read: &str) -> Result<(String, String, Duration)> {
        let item = ItemBuilder::new()
            .target(process.parse()?)
            .tag("Action", "Eval")
            .tag("Type", "Message")
            .data(lua.as_bytes().to_vec());
        let item = sign(&self.wallet, item)?;
        let began = Instant::now();
        self.client("mu")?.submit(&item).await?;
        let message = item.id().to_string();
        let result = match self.client(read)?.result(process, &message, self.quorum()).await {
            // A compute unit may be killed at any time: any other node knows the result too.
            Err(_) if read == "cu" => self.client("none")?.result(process, &message, self.quorum()).await?,
            other => other?,
        };
        let took = began.elapsed();
        refuse_error(&result)?;
        let output = &result["Output"];
        let text = output["data"].as_str().or(output.as_str()).unwrap_or_default().to_string();
        Ok((plain(&text), message, took))
    }

    async fn type_in(&self, process: &str, lua: &str, read: &str) -> Result<String> {
        let (text, message, took) = self.evaluate(process, lua, read).await?;
        self.show(process, lua, &text);
        self.facts(process, &message, took).await?;
        Ok(text)
    }

    fn show(&self, process: &str, lua: &str, text: &str) {
        let lua = self.processes.iter().fold(lua.to_string(), |lua, (id, name)| lua.replace(id, &format!("<{name}>")));
        self.say(&format!("{}> {lua}", self.name(process)));
        // What Send returns is for programs; what people look at is short.
        if !text.is_empty() && text.lines().count() == 1 {
            self.say(&format!("  {text}"));
        }
    }

    async fn expect(&self, process: &str, lua: &str, read: &str, expected: &str) -> Result<()> {
        let text = self.type_in(process, lua, read).await?;
        match text == expected {
            true => Ok(()),
            false => bail!("{lua} gives {text:?}, not {expected:?}"),
        }
    }

    /// As [`Tour::expect`] for a text that is too long to be shown.
    async fn expect_quietly(&self, process: &str, lua: &str, expected: &str, shown: &str) -> Result<()> {
        let (text, message, took) = self.evaluate(process, lua, "none").await?;
        self.show(process, shown, &text);
        self.facts(process, &message, took).await?;
        match text == expected {
            true => Ok(()),
            false => bail!("{shown} gives {text:?}, not {expected:?}"),
        }
    }

    async fn number(&self, process: &str, lua: &str) -> Result<u64> {
        let (text, _, _) = self.evaluate(process, lua, "none").await?;
        text.parse().with_context(|| format!("{lua} gives {text:?}, which is no number"))
    }

    /// Types a line again until it gives what is expected: a message from another process takes a moment.
    async fn wait_until(&self, process: &str, lua: &str, expected: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            // Before anything is in the Inbox the line may be an error; that is a reason to wait, too.
            let found = self.evaluate(process, lua, "none").await;
            if let Ok((text, message, took)) = &found
                && text == expected
            {
                self.show(process, lua, text);
                self.say(&format!("  (delivered within {} ms)", began.elapsed().as_millis()));
                return self.facts(process, message, *took).await;
            }
            if began.elapsed() > DELIVERY_LIMIT {
                bail!("{lua} of {} never gives {expected:?}; last: {found:?}", self.name(process));
            }
            tokio::time::sleep(TYPE_AGAIN).await;
        }
    }

    /// Prints where a message is and who resolved it first.
    async fn facts(&self, process: &str, message: &str, took: Duration) -> Result<()> {
        let gateway = self.client("none")?;
        let entry = gateway.entry(process, message).await?;
        let tag = |name: &str| {
            let tags = entry["assignment"]["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
            let tag = tags.iter().find(|tag| tag["name"] == name);
            tag.and_then(|tag| tag["value"].as_str()).unwrap_or_default().to_string()
        };
        let slot: u64 = tag("Nonce").parse().context("the assignment has no slot")?;
        let known = gateway.slot(process, slot).await?;
        let attestations = known["attestations"].as_array().map(Vec::as_slice).unwrap_or_default();
        let right = attestations.iter().filter(|one| one["agrees"] == true);
        let first = right.min_by_key(|one| one["seen_ms"].as_u64().unwrap_or(u64::MAX));
        let winner = first.and_then(|one| one["unit"].as_str()).map(|unit| self.cluster.name_of(unit));
        let scheduler = self.cluster.name_of(known["scheduler"].as_str().unwrap_or_default());
        let chain: String = tag("Hash-Chain").chars().take(10).collect();
        let winner = winner.map_or_else(String::new, |winner| format!(" · first resolved by {winner}"));
        self.say(&format!("  slot {slot} on {scheduler} · chain {chain}…{winner} · {} ms", took.as_millis()));
        Ok(())
    }
}

fn refuse_error(result: &Value) -> Result<()> {
    match result.get("Error") {
        None | Some(Value::Null) => Ok(()),
        Some(error) => bail!("the process answers with an error: {error}"),
    }
}

/// Text without the colours that aos puts in.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => letters.by_ref().take_while(|letter| *letter != 'm').for_each(drop),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(plain("\u{1b}[34m42\u{1b}[0m!"), "42!");
        assert_eq!(plain("plain"), "plain");
    }
}
