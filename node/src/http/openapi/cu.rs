//! The compute unit's paths.

use utoipa::openapi::path::HttpMethod::Get;

use super::{Described, JSON};

pub(super) const PATHS: &[Described] = &[
    Described {
        method: Get,
        path: "/cu",
        summary: "The unit's address and its time",
        query: &[],
        body: None,
        answers: &[(200, JSON, "address, timestamp")],
    },
    Described {
        method: Get,
        path: "/cu/result/{id}",
        summary: "The result of a message, waited for if it is not there yet; the process's id means its first slot",
        query: &[("process-id", "the process; required")],
        body: None,
        answers: &[(200, JSON, "Messages, Assignments, Spawns, Output, GasUsed, and Error if there was one")],
    },
];
