//! What a node serves as a gateway does.

use utoipa::openapi::path::HttpMethod::Get;

use super::{Described, ITEM, TEXT};

pub(super) const PATHS: &[Described] = &[
    Described {
        method: Get,
        path: "/",
        summary: "What this node is; a node with exactly one role answers as that unit",
        query: &[],
        body: None,
        answers: &[(200, TEXT, "a line that says so")],
    },
    Described {
        method: Get,
        path: "/{id}",
        summary: "The data of an item, from here or from peers",
        query: &[],
        body: None,
        answers: &[(200, ITEM, "the data, as what its Content-Type tag says")],
    },
];
