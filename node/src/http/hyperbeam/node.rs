//! What a node says about itself in HyperBEAM's words.

use ao_protocol::announcement::Role;
use ao_protocol::id::Address;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::Api;
use super::super::error::ApiError;
use super::reading;

/// The node's message, or the key of it that is named.
pub(super) fn info(api: &Api, keys: &[String]) -> Result<Response, ApiError> {
    let world = &api.world;
    let info = json!({
        "address": operator(api).to_string(),
        "unit": world.address().to_string(),
        "roles": world.roles(),
        "network": world.network().hash().to_string(),
        "module": crate::runtime::module_id().to_string(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    match keys {
        [] => Ok(Json(info).into_response()),
        keys => reading::shown(reading::find(&info, keys)?),
    }
}

/// The address that clients put into a spawn as `Scheduler`, and without more as `Authority`: this node's if it
/// schedules, else that of the first scheduler of its network.
fn operator(api: &Api) -> Address {
    let world = &api.world;
    let announced = || world.net().directory().units_with(Role::Su).into_iter().map(|unit| unit.address).min();
    let network = world.network();
    match world.plays(Role::Su) {
        true => world.address(),
        false if network.open => announced().unwrap_or_else(|| world.address()),
        false => network.schedulers.first().copied().or_else(announced).unwrap_or_else(|| world.address()),
    }
}
