//! The scheduler's paths.

use utoipa::openapi::path::HttpMethod::{Get, Post};

use super::{Described, ITEM, JSON};

pub(super) const PATHS: &[Described] = &[
    Described {
        method: Get,
        path: "/su",
        summary: "The unit's address and its time",
        query: &[],
        body: None,
        answers: &[(200, JSON, "timestamp, address")],
    },
    Described {
        method: Post,
        path: "/su",
        summary: "Schedules an item; or, by query, an item from elsewhere",
        query: &[
            ("process-id", "with assign: the process that gets the item"),
            ("assign", "the item that is assigned instead of one in the body"),
            ("base-layer", "with assign: it is a transaction of Arweave"),
            ("by-reference", "with assign: its data is to be read, and is no part of the message"),
            ("exclude", "fields of the item that are left out, joined by commas"),
        ],
        body: Some((ITEM, "a signed ANS-104 item")),
        answers: &[(201, JSON, "timestamp of its slot, id")],
    },
    Described {
        method: Get,
        path: "/su/timestamp",
        summary: "The time and height that the next slot would have",
        query: &[],
        body: None,
        answers: &[(200, JSON, "timestamp, block_height")],
    },
    Described {
        method: Get,
        path: "/su/processes/{process}",
        summary: "What is known of a process",
        query: &[],
        body: None,
        answers: &[(200, JSON, "process_id, block, owner, tags, …")],
    },
    Described {
        method: Get,
        path: "/su/{id}",
        summary: "The log of a process, or one entry of it by the id of its message or assignment",
        query: &[
            ("process-id", "the process, when the path names a message or an assignment"),
            ("from", "entries after this time in milliseconds"),
            ("to", "entries up to this time"),
            ("from-nonce", "entries after this slot"),
            ("to-nonce", "entries up to this slot"),
            ("limit", "most entries; 100 without it, at most 1000"),
            ("show-anchor", "anchors as base64url instead of text"),
        ],
        body: None,
        answers: &[(200, JSON, "a page (page_info, edges), or an entry (message, assignment)")],
    },
    Described {
        method: Get,
        path: "/su/{id}/latest",
        summary: "The newest entry of a process",
        query: &[],
        body: None,
        answers: &[(200, JSON, "message, assignment")],
    },
];
