//! The messenger's paths.

use utoipa::openapi::path::HttpMethod::{Delete, Get, Post};

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
        summary: "Takes a message for a process, or a process to be spawned; or, by query, an assignment",
        query: &[
            ("process-id", "with assign: the process that gets the item"),
            ("assign", "the item that is assigned instead of one in the body"),
            ("base-layer", "with assign: it is a transaction of Arweave"),
            ("by-reference", "with assign: its data is to be read, and is no part of the message"),
            ("exclude", "fields of the item that are left out, joined by commas"),
        ],
        body: Some((ITEM, "a signed ANS-104 item with the tag Type: Message or Process")),
        answers: &[(202, JSON, "it has its slot on disk: message, id")],
    },
    Described {
        method: Post,
        path: "/mu/monitor/{process}",
        summary: "Checks an item that asks for the crons of a process; they are delivered anyway",
        query: &[],
        body: Some((ITEM, "a signed ANS-104 item whose target is the process")),
        answers: &[(200, TEXT, "Monitoring process")],
    },
    Described {
        method: Delete,
        path: "/mu/monitor/{process}",
        summary: "Checks an item by the owner of a process; its crons go on",
        query: &[],
        body: Some((ITEM, "a signed ANS-104 item whose target is the process")),
        answers: &[(200, TEXT, "Process deleted"), (403, JSON, "it is not signed by the owner")],
    },
    Described {
        method: Post,
        path: "/mu/push/{message}/{number}",
        summary: "Looks again at one entry of the outbox of a message",
        query: &[("process-id", "the process that the message was sent to; required")],
        body: None,
        answers: &[(202, JSON, "message, id")],
    },
];
