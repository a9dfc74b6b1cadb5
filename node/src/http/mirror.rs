//! How far this node's log is on Arweave.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use crate::drive::mirror::ShownBundle;
use crate::store::BundleState;

/// `GET /ao/mirror`
pub(super) async fn get(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let Some(mirror) = &api.mirror else { return Ok(Json(json!({ "mirrors": false }))) };
    let shown = mirror.shown()?;
    let sums = shown.landed.as_ref().map_or((0, 0, 0), |last| (last.all_slots, last.bundles, last.all_bytes));
    Ok(Json(json!({
        "mirrors": true,
        "url": shown.url,
        "wallet": shown.wallet.to_string(),
        "waiting": { "slots": shown.waiting_slots, "processes": shown.waiting_processes },
        "bundles": shown.bundles.iter().map(bundle).collect::<Vec<_>>(),
        "landed": {
            "slots": sums.0,
            "bundles": sums.1,
            "bytes": sums.2,
            "last": shown.landed.map(|last| json!({ "id": last.id.to_string(), "height": last.height })),
        },
        "error": shown.error.map(|(text, at_ms)| json!({ "text": text, "at_ms": at_ms })),
    })))
}

fn bundle(bundle: &ShownBundle) -> Value {
    json!({
        "id": bundle.id.to_string(),
        "slots": bundle.slots,
        "processes": bundle.processes,
        "bytes": bundle.bytes,
        "state": match bundle.state {
            BundleState::Signed => "signed",
            BundleState::Posted => "posted",
        },
        "confirmations": bundle.confirmations,
        "error": bundle.error,
    })
}
