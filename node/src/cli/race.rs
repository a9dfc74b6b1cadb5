//! `ao-node race`: which compute unit resolved which slots of a process first, who agrees, and who was found lying.

use std::process::ExitCode;

use anyhow::Result;
use ao_protocol::id::Id;
use clap::Args;
use serde_json::Value;

use super::client::{Client, id};
use super::{Remote, output};

/// Show who resolves a process: where each compute unit stands, who won which slots, and who was found lying
///
/// All of it is what the node that is asked saw itself.
#[derive(Debug, Args)]
pub(super) struct Race {
    /// The process
    #[arg(value_parser = id)]
    process: Id,
    /// The first slot to show; without it the last ones
    #[arg(long, value_name = "SLOT")]
    from: Option<u64>,
    /// How many laps to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_u64).map_or_else(|| "-".to_string(), |number| number.to_string())
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

impl Race {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.remote)?;
        let from = self.from.map(|from| format!("&from={from}")).unwrap_or_default();
        let race = client.get(&format!("/race/{}?limit={}{from}", self.process, self.limit)).await?;
        if self.remote.json {
            output::json(&race);
            return Ok(ExitCode::SUCCESS);
        }
        let colours = output::colours(&std::io::stdout());
        lines(&race).iter().for_each(|line| println!("{}", output::shown(line, colours)));
        Ok(ExitCode::SUCCESS)
    }
}

/// The race as lines for people.
fn lines(race: &Value) -> Vec<String> {
    let quorum = race.get("quorum").and_then(Value::as_u64).unwrap_or(1);
    let mut lines = vec![format!("process {}", text(race, "process"))];
    lines.push(match quorum {
        1 => format!("  computed up to slot {}; one unit's word is enough", number(race, "computed")),
        _ => format!(
            "  computed up to slot {}, certain up to slot {}: {quorum} units must agree",
            number(race, "computed"),
            number(race, "certain")
        ),
    });
    if race.get("disputed_from").is_some_and(|slot| !slot.is_null()) {
        lines.push(format!(
            "  DISPUTED from slot {} on: its scheduler gave that slot twice",
            number(race, "disputed_from")
        ));
    }
    lines.push(format!("units {:42} {:>10} {:>8} {:>10} {:>6}", "", "agrees to", "won", "confirmed", "wrong"));
    for unit in list(race, "units") {
        let stands = match (unit.get("counts"), unit.get("agrees_up_to"), unit.get("differs_at")) {
            (Some(Value::Bool(false)), ..) => "LIED".to_string(),
            (_, Some(Value::Number(slot)), _) => slot.to_string(),
            (_, _, Some(Value::Number(slot))) => format!("differs {slot}"),
            _ => "silent".to_string(),
        };
        lines.push(format!(
            "  {:45} {stands:>10} {:>8} {:>10} {:>6}",
            text(unit, "unit"),
            number(unit, "slots_won"),
            number(unit, "laps_confirmed"),
            number(unit, "laps_wrong")
        ));
    }
    for lap in list(race, "laps") {
        let slots = match (number(lap, "from"), number(lap, "to")) {
            (from, to) if from == to => format!("slot {from}"),
            (from, to) => format!("slots {from}-{to}"),
        };
        let winner = text(lap, "winner");
        let won = if winner.is_empty() {
            "nobody won: nothing was committed to in time".into()
        } else {
            format!("won by {winner}")
        };
        let count =
            |agrees| list(lap, "finishes").iter().filter(|one| one.get("agrees") == Some(&Value::Bool(agrees))).count();
        let (right, wrong) = (count(true), count(false));
        let dissent = if wrong > 0 { format!(", {wrong} WRONG") } else { String::new() };
        lines.push(format!("{slots}: {won}; {right} agree{dissent}"));
    }
    for lie in list(race, "lies") {
        lines.push(match text(lie, "kind") {
            "perjury" => format!("LIE: {} attested two outcomes of slot {}", text(lie, "unit"), number(lie, "slot")),
            _ => format!(
                "LIE: {} attested the chain {} after slot {}; right is {}, as {} others attest",
                text(lie, "unit"),
                text(lie, "claimed"),
                number(lie, "slot"),
                text(lie, "right"),
                list(lie, "against").len()
            ),
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_race_is_read_by_people() {
        let race = json!({
            "process": "P", "quorum": 2, "computed": 7, "certain": 6, "disputed_from": null,
            "units": [
                { "unit": "A", "counts": true, "agrees_up_to": 7, "slots_won": 5, "laps_confirmed": 1, "laps_wrong": 0 },
                { "unit": "B", "counts": false, "differs_at": 3, "slots_won": 0, "laps_confirmed": 0, "laps_wrong": 1 },
            ],
            "laps": [
                { "from": 3, "to": 3, "winner": "A", "finishes": [{ "agrees": true }, { "agrees": false }] },
                { "from": 4, "to": 7, "winner": null, "finishes": [{ "agrees": true }] },
            ],
            "lies": [
                { "kind": "dissent", "unit": "B", "slot": 3, "claimed": "x", "right": "y", "against": [{}] },
                { "kind": "perjury", "unit": "C", "slot": 4 },
            ],
        });
        let lines = lines(&race).join("\n");
        for part in [
            "certain up to slot 6: 2 units must agree",
            "LIED",
            "slot 3: won by A; 1 agree, 1 WRONG",
            "slots 4-7: nobody won",
            "LIE: B attested the chain x after slot 3; right is y, as 1 others attest",
            "LIE: C attested two outcomes of slot 4",
        ] {
            assert!(lines.contains(part), "{part:?} is not in:\n{lines}");
        }
    }
}
