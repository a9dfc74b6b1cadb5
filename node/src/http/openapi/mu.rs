//! The messenger's paths.

use utoipa::openapi::path::HttpMethod::{Get, Post};

use super::{Described, ITEM, JSON, TEXT};

pub(super) const PATHS: &[Described] = &[
    Described {
        method: Get,
        path: "/mu",
        summary: "Says that a messenger is here",
        query: &[],
        body: None,
        answers: &[(200, TEXT, "ao messenger unit")],
    },
    Described {
        method: Post,
        path: "/mu",
        summary: "Takes a message for a process, or a process to be spawned",
        query: &[],
        body: Some((ITEM, "a signed ANS-104 item with the tag Type: Message or Process")),
        answers: &[(202, JSON, "it has its slot on disk: message, id")],
    },
];
