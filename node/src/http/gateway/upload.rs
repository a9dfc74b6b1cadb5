//! Uploads of items as bundlers take them: the item is kept, and the answer is a receipt signed by the unit wallet.

use ao_protocol::id::{Id, encode_base64url};
use ao_protocol::item::VerifiedItem;
use ao_protocol::item::deep_hash;
use ao_protocol::wallet::{Signer, WalletError};
use ao_protocol::wire::ItemBytes;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::drive::{World, location, now_ms, uploads};
use crate::http::Api;
use crate::http::error::ApiError;
use crate::store::Receipt;

/// The version of receipts: what their signature is over.
const VERSION: &str = "1.0.0";
/// Blocks within which bundlers promise that an item is on Arweave.
const DEADLINE_BLOCKS: u64 = 200;

/// The paths that bundlers' clients use; the last segment names a currency, and nothing is charged here.
pub(super) fn router() -> Router<Api> {
    let paths = ["/tx/{id}", "/v1/tx", "/v1/tx/{id}"];
    paths.into_iter().fold(Router::new(), |router, path| router.route(path, post(upload)))
}

/// Takes a signed item.
pub(in crate::http) async fn upload(State(api): State<Api>, body: Bytes) -> Result<Json<Value>, ApiError> {
    api.needs_room()?;
    let world = &api.world;
    let item = world.verified().verify_or_say(ItemBytes(body.to_vec())).await.map_err(ApiError::BadRequest)?;
    if let Some(first) = world.log().receipt(&item.id())? {
        return Ok(Json(receipt_json(world, &item, &first)));
    }
    if location::is_outdated(world, &item) {
        let text = "this Scheduler-Location does not say where its scheduler announced that it is";
        return Err(ApiError::BadRequest(text.into()));
    }
    let receipt = sign(world, &item.id()).map_err(|cause| ApiError::Internal(cause.to_string()))?;
    let (keeper, kept) = (world.clone(), item.clone());
    // Synced, which takes a while.
    let receipt = tokio::task::spawn_blocking(move || keeper.log().keep_upload(&kept, receipt));
    let receipt = receipt.await.map_err(|_| ApiError::Internal("the node is stopping".into()))??;
    let (world_too, finished) = (world.clone(), item.clone());
    // It goes on when the client does not wait; who waits finds what is in a bundle.
    let rest = tokio::spawn(async move { uploads::finish(&world_too, &finished).await });
    rest.await.map_err(|_| ApiError::Internal("the node is stopping".into()))??;
    Ok(Json(receipt_json(world, &item, &receipt)))
}

/// Signs that an item is kept, as bundlers do: over the deep hash of these texts.
fn sign(world: &World, id: &Id) -> Result<Receipt, WalletError> {
    let timestamp_ms = now_ms();
    let deadline_height = world.newest_block().height + DEADLINE_BLOCKS;
    let signature = world.wallet().sign(&signed(id, deadline_height, timestamp_ms))?;
    Ok(Receipt { timestamp_ms, deadline_height, signature })
}

fn signed(id: &Id, deadline_height: u64, timestamp_ms: u64) -> [u8; 48] {
    let texts = ["Bundlr", VERSION, &id.to_string(), &deadline_height.to_string(), &timestamp_ms.to_string()];
    deep_hash::list(&texts.map(str::as_bytes))
}

fn receipt_json(world: &World, item: &VerifiedItem, receipt: &Receipt) -> Value {
    json!({
        "id": item.id().to_string(),
        "timestamp": receipt.timestamp_ms,
        "version": VERSION,
        "public": encode_base64url(world.wallet().owner()),
        "signature": encode_base64url(&receipt.signature),
        "deadlineHeight": receipt.deadline_height,
        "block": receipt.deadline_height,
        "validatorSignatures": [],
        "owner": item.address().to_string(),
    })
}
