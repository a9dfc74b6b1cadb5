//! The compute unit's paths.

use utoipa::openapi::path::HttpMethod::{Get, Post};

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
        query: &[
            ("process-id", "the process; required"),
            ("quorum", "how many compute units must agree; it is waited for"),
        ],
        body: None,
        answers: &[(
            200,
            JSON,
            "Messages, Assignments, Spawns, Output, GasUsed, and Error if there was one; with quorum also Quorum: who agrees",
        )],
    },
    Described {
        method: Get,
        path: "/cu/results/{process}",
        summary: "The results of a process, in pages",
        query: &[
            ("from", "after this cursor or time in milliseconds"),
            ("to", "up to this cursor or time"),
            ("sort", "ASC or DESC; the sort of a cursor comes first"),
            ("limit", "most edges"),
            ("errors", "true: also those that ended in errors; edges then have message and action"),
        ],
        body: None,
        answers: &[(200, JSON, "pageInfo, edges of node and cursor")],
    },
    Described {
        method: Get,
        path: "/cu/cron/{process}",
        summary: "The results of the crons of a process, in pages, oldest first",
        query: &[
            ("from", "after this cursor, or time in milliseconds at which a firing got its slot"),
            ("to", "up to this cursor or time"),
            ("limit", "most edges"),
            ("errors", "true: also those that ended in errors; edges then have message and action"),
        ],
        body: None,
        answers: &[(200, JSON, "pageInfo, edges of node and cursor")],
    },
    Described {
        method: Get,
        path: "/cu/state/{process}",
        summary: "The variables of a process after its newest slot; what JSON has no form for is shown by its kind",
        query: &[
            ("name", "only this variable"),
            ("to", "a time in milliseconds; 425 when the newest slot is later: older states are not kept"),
        ],
        body: None,
        answers: &[(200, JSON, "Process, Slot, Timestamp, Block-Height, State")],
    },
    Described {
        method: Post,
        path: "/cu/dry-run",
        summary: "What a message would come to, without a trace",
        query: &[("process-id", "the process; required"), ("to", "a message that must be the newest")],
        body: Some((JSON, "Id, Owner, Anchor, Data, Tags")),
        answers: &[(200, JSON, "Messages, Assignments, Spawns, Output, GasUsed, and Error if there was one")],
    },
];
