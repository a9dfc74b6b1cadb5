//! Following the chain: a node without one of its own learns the newest blocks from its gateway of Arweave, else from
//! the unit that plays the network's chain, so that schedulers date slots by its height.

use std::time::Duration;

use ao_protocol::log::LogError;
use ao_protocol::wire::{Answer, Call, Request, Response};
use serde::Deserialize;

use super::{Block, BlockId, Gateway};
use crate::drive::World;
use crate::net::Unit;

/// How often a unit is asked for the newest block, and a gateway: Arweave has one in two minutes.
const ASKED_EVERY: Duration = Duration::from_secs(1);
const GATEWAY_ASKED_EVERY: Duration = Duration::from_secs(5);
/// Most blocks that are fetched after a pause; older ones stay unknown here.
const MAX_FOLLOWED_BLOCKS: u64 = 200;

/// Highest height and latest second that a block may have: beyond them numbers are wrong, and those that are computed
/// from them would overflow.
const MAX_BLOCK_NUMBER: u64 = 1 << 40;

/// A block as the HTTP API gives it.
#[derive(Debug, Deserialize)]
struct BlockJson {
    height: u64,
    indep_hash: String,
    previous_block: String,
    timestamp: u64,
    #[serde(default)]
    txs: Vec<String>,
}

/// Follows until the log fails.
pub async fn run(world: World) {
    while world.goes_on(follow(&world).await).await {}
}

async fn follow(world: &World) -> Result<(), LogError> {
    if let Some(newest) = world.log().newest_block()? {
        world.mined(newest);
    }
    let gateway = world.permaweb().gateway();
    let mut clock = tokio::time::interval(if gateway.is_some() { GATEWAY_ASKED_EVERY } else { ASKED_EVERY });
    loop {
        clock.tick().await;
        let from = match (gateway, world.chain_unit()) {
            (Some(gateway), _) => From::Gateway(gateway),
            (None, Some(unit)) => From::Unit(unit),
            (None, None) => continue,
        };
        let Some(newest) = newest(world, &from).await else { continue };
        let known = world.newest_block();
        // A chain does not shrink: slots are dated by it.
        if newest.height <= known.height && known.id != Block::none().id {
            continue;
        }
        let missing = known.height + 1..newest.height;
        let first = missing.start.max(newest.height.saturating_sub(MAX_FOLLOWED_BLOCKS));
        for height in first..missing.end {
            match ask(world, &from, &format!("/block/height/{height}")).await {
                Some(block) if block.height == height => world.log().keep_block(&block)?,
                _ => break,
            }
        }
        world.log().keep_block(&newest)?;
        world.mined(newest);
    }
}

/// Who tells of blocks.
enum From<'a> {
    Gateway(&'a Gateway),
    Unit(Unit),
}

/// The newest block.
async fn newest(world: &World, from: &From<'_>) -> Option<Block> {
    if let Some(newest) = ask(world, from, "/block/current").await {
        return Some(newest);
    }
    // arlocal has no such path.
    let From::Gateway(gateway) = from else { return None };
    let height = gateway.height().await.ok()?;
    ask(world, from, &format!("/block/height/{height}")).await
}

/// A block; none when there is no answer with one.
async fn ask(world: &World, from: &From<'_>, path: &str) -> Option<Block> {
    let unit = match from {
        From::Gateway(gateway) => return read(gateway.get_text("block", path).await.ok()?.as_bytes()),
        From::Unit(unit) => unit,
    };
    let call = Call { path: path.to_string(), body: None };
    match world.net().request(&unit.peer, &Request::Call(call)).await {
        Ok(Response::Answer(Answer { status: 200, body, .. })) => read(&body),
        _ => None,
    }
}

fn read(body: &[u8]) -> Option<Block> {
    let json: BlockJson = serde_json::from_slice(body).ok()?;
    let id = |text: &str| text.parse::<BlockId>().ok();
    if json.height > MAX_BLOCK_NUMBER || json.timestamp > MAX_BLOCK_NUMBER {
        return None;
    }
    Some(Block {
        height: json.height,
        id: id(&json.indep_hash)?,
        previous: id(&json.previous_block)?,
        timestamp_s: json.timestamp,
        // arlocal lists `[object Object]` in a block that has none.
        transactions: json.txs.iter().filter_map(|text| text.parse().ok()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_block_is_not_taken() {
        let id = BlockId([5; 48]);
        let text = format!(r#"{{"height":7,"indep_hash":"{id}","previous_block":"{id}","timestamp":9,"txs":[]}}"#);
        assert_eq!(read(text.as_bytes()).unwrap().height, 7);
        let of_arlocal = text.replace("[]", r#"["[object Object]"]"#);
        assert_eq!(read(of_arlocal.as_bytes()), read(text.as_bytes()));
        let (height, time) = (text.replace("7,", "18446744073709551615,"), text.replace(":9,", ":1099511627777,"));
        for wrong in [text.replace("7,", "-7,"), text.replace(&id.to_string(), "x"), height, time, String::new()] {
            assert_eq!(read(wrong.as_bytes()), None);
        }
    }
}
