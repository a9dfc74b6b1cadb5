//! Arweave's own API: transactions, their data in chunks, blocks and wallets. The unit that plays the network's chain
//! answers; the others pass what they are asked on to it, and know its newest blocks themselves.

use std::io;
use std::ops::Range;

use ao_protocol::id::{Address, Digest, Id, decode_base64url, encode_base64url};
use ao_protocol::transaction::Transaction;
use ao_protocol::wire::Call;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::upload;
use crate::arweave::{Block, BlockId, ChunkRefusal, DevChain, PostRefusal, price};
use crate::drive::World;
use crate::http::body::content_type;
use crate::http::error::ApiError;
use crate::http::passed_on::FromPeer;
use crate::http::{Api, MAX_BODY_BYTES};
use crate::store::{DataRoot, Posted, StoredChunk};

/// Largest piece of data and proof, as `POST /chunk` takes them.
const MAX_CHUNK_BODY_BYTES: usize = 1024 * 1024;

/// Largest data of a transaction that is given as text; the limit of Arweave's nodes.
const MAX_TEXT_DATA_BYTES: u64 = 12 * 1024 * 1024;

/// What any node answers from the blocks that it knows.
pub(super) fn blocks() -> Router<Api> {
    Router::new()
        .route("/info", get(info))
        .route("/height", get(async |State(api): State<Api>| api.world.newest_block().height.to_string()))
        .route("/block/current", get(async |State(api): State<Api>| Json(block_json(&api.world.newest_block()))))
        .route("/block/height/{height}", get(block_at))
        .route("/block/hash/{id}", get(block_of))
}

/// What only the chain itself answers.
pub(super) fn chain(api: &Api) -> Router<Api> {
    Router::new()
        .route("/price/{bytes}", get(price_of))
        .route("/price/{bytes}/{target}", get(price_to))
        .route("/tx_anchor", get(async |State(api): State<Api>| api.world.newest_block().id.to_string()))
        .route("/tx", post(take))
        .route("/tx/{id}", get(transaction))
        .route("/tx/{id}/status", get(status))
        .route("/tx/{id}/offset", get(offset))
        .route("/tx/{id}/{field}", get(field))
        .route("/chunk", post(take_chunk))
        .route("/chunk/{offset}", get(chunk))
        .route("/wallet/{address}/balance", get(balance))
        .route("/wallet/{address}/last_tx", get(last_tx))
        .route("/mine", get(mine_one))
        .route("/mine/{count}", get(mine))
        .route("/mint/{address}/{winston}", get(mint))
        .layer(from_fn_with_state(api.clone(), or_elsewhere))
}

/// Passes requests on to the unit that plays the chain, if this node does not. Uploads of items are for any node.
async fn or_elsewhere(
    State(api): State<Api>,
    passed: FromPeer,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let posted = request.method() == axum::http::Method::POST;
    let is_upload = posted && request.uri().path() == "/tx" && !is_json(&request);
    if api.chain.is_some() || is_upload {
        return Ok(next.run(request).await);
    }
    if passed.0 {
        return Err(ApiError::Upstream("this node plays no chain".into()));
    }
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    if path.starts_with("/mine") || path.starts_with("/mint") {
        return Err(ApiError::NotFound("only the node that plays the chain mines: see /info there".into()));
    }
    let body = to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|_| ApiError::TooLarge)?;
    api.pass_to_chain(Call { path, body: posted.then(|| body.to_vec()) }).await
}

fn is_json(request: &Request<Body>) -> bool {
    content_type(request.headers()).is_some_and(|kind| kind == "application/json")
}

fn playing(api: &Api) -> Result<&DevChain, ApiError> {
    api.chain.as_ref().ok_or_else(|| ApiError::Upstream("this node plays no chain".into()))
}

/// Does what may block beside the tasks that serve requests.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::Internal("the node is stopping".into()))
}

async fn info(State(api): State<Api>) -> Json<Value> {
    Json(info_json(&api.world))
}

fn info_json(world: &World) -> Value {
    let newest = world.newest_block();
    json!({
        "network": "ao-node.dev.1",
        "version": 5,
        "release": 1,
        "queue_length": 0,
        "peers": world.net().directory().connected().len(),
        "height": newest.height,
        "current": newest.id.to_string(),
        "blocks": newest.height + 1,
        "node_state_latency": 0,
    })
}

fn block_json(block: &Block) -> Value {
    json!({
        "height": block.height,
        "indep_hash": block.id.to_string(),
        "previous_block": block.previous.to_string(),
        "timestamp": block.timestamp_s,
        "txs": block.transactions,
    })
}

async fn block_at(State(api): State<Api>, Path(height): Path<String>) -> Result<Json<Value>, ApiError> {
    let wrong = |_| ApiError::BadRequest(format!("{height:?} is no height"));
    let height: u64 = height.parse().map_err(wrong)?;
    let block = api.world.log().block(height)?;
    let block = block.ok_or_else(|| ApiError::NotFound(format!("no block of height {height} is known here")))?;
    Ok(Json(block_json(&block)))
}

async fn block_of(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let id: BlockId = id.parse().map_err(|cause| ApiError::BadRequest(format!("{cause}")))?;
    let block = api.world.log().block_by_id(&id)?;
    let block = block.ok_or_else(|| ApiError::NotFound(format!("block {id} is not known here")))?;
    Ok(Json(block_json(&block)))
}

async fn price_of(Path(bytes): Path<String>) -> Result<String, ApiError> {
    let wrong = |_| ApiError::BadRequest(format!("{bytes:?} is no number of bytes"));
    Ok(price(bytes.parse().map_err(wrong)?).to_string())
}

async fn price_to(Path((bytes, _)): Path<(String, String)>) -> Result<String, ApiError> {
    price_of(Path(bytes)).await
}

/// A transaction as JSON, or an item as bundlers take them.
async fn take(State(api): State<Api>, request: Request) -> Result<Response, ApiError> {
    api.needs_room()?;
    let json = is_json(&request);
    let body = to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|_| ApiError::TooLarge)?;
    if !json {
        return Ok(upload::upload(State(api), body).await?.into_response());
    }
    let chain = playing(&api)?.clone();
    let taken = blocking(move || {
        let transaction = Transaction::verify_json(&body).map_err(|cause| PostRefusal::Wrong(cause.to_string()))?;
        chain.post(&transaction)
    });
    match taken.await? {
        Ok(()) => Ok("OK".into_response()),
        Err(cause @ PostRefusal::Known) => Ok((StatusCode::ALREADY_REPORTED, cause.to_string()).into_response()),
        Err(cause @ PostRefusal::Poor { .. }) => {
            let body = json!({ "code": 410, "msg": format!("You don't have enough tokens: {cause}") });
            Ok((StatusCode::GONE, Json(body)).into_response())
        }
        Err(PostRefusal::Wrong(text)) => Err(ApiError::BadRequest(text)),
        Err(PostRefusal::Log(cause)) => Err(cause.into()),
    }
}

fn parse_id(text: &str) -> Result<Id, ApiError> {
    text.parse().map_err(|cause| ApiError::BadRequest(format!("{cause}")))
}

fn posted(api: &Api, id: &str) -> Result<Posted, ApiError> {
    let id = parse_id(id)?;
    let posted = api.world.log().transaction(&id)?;
    posted.ok_or_else(|| ApiError::NotFound(format!("transaction {id} is not known")))
}

/// What is said of a transaction that waits for its block.
fn pending() -> Response {
    (StatusCode::ACCEPTED, "Pending").into_response()
}

async fn transaction(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let posted = posted(&api, &id)?;
    Ok(if posted.height.is_some() { Json(posted.transaction.to_json()).into_response() } else { pending() })
}

async fn status(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let Some(height) = posted(&api, &id)?.height else { return Ok(pending()) };
    let id = api.world.log().block(height)?.map(|block| block.id.to_string());
    let newest = api.world.newest_block().height;
    Ok(Json(json!({
        "block_height": height,
        "block_indep_hash": id,
        "number_of_confirmations": newest.saturating_sub(height) + 1,
    }))
    .into_response())
}

async fn offset(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let posted = posted(&api, &id)?;
    if posted.height.is_none() || posted.transaction.data_size == 0 {
        return Err(ApiError::NotFound(format!("transaction {id} has no place yet")));
    }
    let (end, size) = (posted.end.to_string(), posted.transaction.data_size.to_string());
    Ok(Json(json!({ "offset": end, "size": size })).into_response())
}

async fn field(State(api): State<Api>, Path((id, field)): Path<(String, String)>) -> Result<Response, ApiError> {
    let posted = posted(&api, &id)?;
    if field == "data" {
        return data_field(&api, &id, posted).await;
    }
    match posted.transaction.to_json().get(&field) {
        Some(Value::String(text)) => Ok(text.clone().into_response()),
        Some(value) => Ok(Json(value).into_response()),
        None => Err(ApiError::NotFound(format!("a transaction has no field {:?}", shortened(&field)))),
    }
}

/// The data as text in base64url, as long as it fits in memory: what is larger is read by `/raw` or in chunks.
async fn data_field(api: &Api, id: &str, posted: Posted) -> Result<Response, ApiError> {
    let Some(root) = DataRoot::of(&posted.transaction) else { return Ok(String::new().into_response()) };
    if root.size > MAX_TEXT_DATA_BYTES {
        return Ok((StatusCode::BAD_REQUEST, Json(json!({ "error": "tx_data_too_big" }))).into_response());
    }
    let world = api.world.clone();
    let data = blocking(move || world.log().chunked_data(&root)).await??;
    let data = data.ok_or_else(|| ApiError::NotFound(format!("the data of transaction {id} is not whole yet")))?;
    Ok(encode_base64url(&data).into_response())
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A piece of data as uploaders send it.
#[derive(Debug, Deserialize)]
struct ChunkBody {
    data_root: String,
    data_size: String,
    data_path: String,
    offset: String,
    chunk: String,
}

impl ChunkBody {
    /// Root, offset, proof and bytes; none if one can't be read.
    fn read(&self) -> Option<(DataRoot, u64, Vec<u8>, Vec<u8>)> {
        let root: Digest = self.data_root.parse().ok()?;
        let proof = decode_base64url(&self.data_path).ok()?;
        let data = decode_base64url(&self.chunk).ok()?;
        Some((DataRoot { root, size: self.data_size.parse().ok()? }, self.offset.parse().ok()?, proof, data))
    }
}

async fn take_chunk(State(api): State<Api>, body: Bytes) -> Result<Response, ApiError> {
    api.needs_room()?;
    let refuse = |code: &str| Ok((StatusCode::BAD_REQUEST, Json(json!({ "error": code }))).into_response());
    if body.len() > MAX_CHUNK_BODY_BYTES {
        return refuse("chunk_too_big");
    }
    let read: Option<ChunkBody> = serde_json::from_slice(&body).ok();
    let Some((root, offset, proof, data)) = read.as_ref().and_then(ChunkBody::read) else {
        return refuse("invalid_json");
    };
    if data.len() > ao_protocol::transaction::chunks::MAX_CHUNK_BYTES {
        return refuse("chunk_too_big");
    }
    if proof.len() > ao_protocol::transaction::chunks::MAX_DATA_PATH_BYTES {
        return refuse("data_path_too_big");
    }
    if offset >= root.size {
        return refuse("offset_too_big");
    }
    let chain = playing(&api)?.clone();
    match blocking(move || chain.take_chunk(&root, offset, proof, data)).await? {
        Ok(()) => Ok("OK".into_response()),
        Err(ChunkRefusal::Log(cause)) => Err(cause.into()),
        Err(cause) => refuse(&cause.to_string()),
    }
}

/// The piece of data at an offset in the data of all transactions.
async fn chunk(State(api): State<Api>, Path(offset): Path<String>) -> Result<Response, ApiError> {
    let wrong = |_| ApiError::BadRequest(format!("{:?} is no offset", shortened(&offset)));
    let at: u64 = offset.parse().map_err(wrong)?;
    let store = api.world.log();
    let unknown = || ApiError::NotFound(format!("there is no data at offset {at}"));
    let posted = store.at_offset(at)?.ok_or_else(unknown)?;
    let first = posted.end - posted.transaction.data_size + 1;
    let root = DataRoot::of(&posted.transaction).ok_or_else(unknown)?;
    let relative = at.checked_sub(first).ok_or_else(unknown)?;
    let chunk = store.chunk(&root, relative)?.ok_or_else(unknown)?;
    Ok(Json(json!({
        "chunk": encode_base64url(&chunk.data),
        "data_path": encode_base64url(&chunk.proof),
        "tx_path": "",
        "packing": "unpacked",
    }))
    .into_response())
}

fn address(text: &str) -> Result<Address, ApiError> {
    text.parse().map_err(|cause| ApiError::BadRequest(format!("{cause}")))
}

async fn balance(State(api): State<Api>, Path(wallet): Path<String>) -> Result<String, ApiError> {
    Ok(api.world.log().account(&address(&wallet)?)?.balance.to_string())
}

async fn last_tx(State(api): State<Api>, Path(wallet): Path<String>) -> Result<String, ApiError> {
    let last = api.world.log().account(&address(&wallet)?)?.last_tx;
    Ok(last.map(|id| id.to_string()).unwrap_or_default())
}

async fn mine_one(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    playing(&api)?.mine(1).await?;
    Ok(Json(info_json(&api.world)))
}

async fn mine(State(api): State<Api>, Path(count): Path<String>) -> Result<Json<Value>, ApiError> {
    let wrong = |_| ApiError::BadRequest(format!("{:?} is no number of blocks", shortened(&count)));
    playing(&api)?.mine(count.parse().map_err(wrong)?).await?;
    Ok(Json(info_json(&api.world)))
}

async fn mint(State(api): State<Api>, Path((wallet, winston)): Path<(String, String)>) -> Result<String, ApiError> {
    let wrong = |_| ApiError::BadRequest(format!("{:?} is no amount of winston", shortened(&winston)));
    let (chain, wallet, winston) = (playing(&api)?.clone(), address(&wallet)?, winston.parse().map_err(wrong)?);
    Ok(blocking(move || chain.mint(&wallet, winston)).await??.to_string())
}

/// The data of an L1 transaction.
pub(super) struct ChainData {
    pub(super) kind: Option<String>,
    /// None: it is empty.
    root: Option<DataRoot>,
}

impl ChainData {
    /// None if this node plays no chain, or has no such transaction or not all of its data.
    pub(super) fn of(api: &Api, id: &Id) -> Result<Option<ChainData>, ApiError> {
        let store = api.world.log();
        let posted = if api.chain.is_some() { store.transaction(id)? } else { None };
        let Some(posted) = posted else { return Ok(None) };
        let root = DataRoot::of(&posted.transaction);
        if let Some(root) = &root
            && !store.is_whole(root)?
        {
            return Ok(None);
        }
        Ok(Some(ChainData { kind: posted.transaction.tag("Content-Type").map(str::to_string), root }))
    }

    /// Its bytes.
    pub(super) fn size(&self) -> u64 {
        self.root.map_or(0, |root| root.size)
    }

    /// From one byte up to another that is not part of it, read piece by piece as the client takes them.
    pub(super) fn body(&self, world: &World, range: Range<u64>) -> Body {
        let Some(root) = self.root else { return Body::empty() };
        let world = world.clone();
        let pieces = futures::stream::try_unfold(range.start, move |at| {
            let world = world.clone();
            async move {
                if at >= range.end {
                    return Ok::<_, io::Error>(None);
                }
                let read = tokio::task::spawn_blocking(move || world.log().chunk(&root, at));
                let chunk = read.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
                let missing = || io::Error::other(format!("the piece at byte {at} is missing"));
                let StoredChunk { range: held, data, .. } = chunk.ok_or_else(missing)?;
                let end = held.end.min(range.end);
                let place = |at: u64| usize::try_from(at.saturating_sub(held.start)).unwrap_or(usize::MAX);
                let (from, to) = (place(at), place(end));
                let bytes = Bytes::from(data);
                if from >= to || to > bytes.len() {
                    return Err(missing());
                }
                Ok(Some((bytes.slice(from..to), end)))
            }
        });
        Body::from_stream(pieces)
    }
}
