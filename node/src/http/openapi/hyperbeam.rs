//! HyperBEAM's paths, as far as clients in mainnet mode use them.

use utoipa::openapi::path::HttpMethod::{Get, Post};

use super::{ANS104, AOS_2, Described, JSON, TEXT};

pub(super) const PATHS: &[Described] = &[
    Described {
        method: Get,
        path: "/~meta@1.0/info",
        summary: "What this node is",
        query: &[],
        body: None,
        answers: &[(200, JSON, "address, roles, network, module, version")],
    },
    Described {
        method: Get,
        path: "/~meta@1.0/info/address",
        summary: "The address to put into a spawn as Scheduler",
        query: &[],
        body: None,
        answers: &[(200, TEXT, "43 characters")],
    },
    Described {
        method: Post,
        path: "/push",
        summary: "Schedules a process or a message",
        query: &[],
        body: Some((ANS104, "a signed ANS-104 item")),
        answers: &[
            (200, JSON, "id, slot, process, timestamp; process and slot are headers too"),
            (422, JSON, "it is signed as an HTTP message: send an ANS-104 item"),
        ],
    },
    Described {
        method: Post,
        path: "/{process}~process@1.0/push",
        summary: "Schedules a message; what it sends is delivered",
        query: &[("result-depth", "above 0: the answer waits for the result"), ("push-mode", "sync: the same")],
        body: Some((ANS104, "a signed ANS-104 item for the process")),
        answers: &[(200, JSON, "id, slot, process, timestamp")],
    },
    Described {
        method: Get,
        path: "/{process}~process@1.0/schedule",
        summary: "The log by slots",
        query: &[("from", "first slot"), ("to", "last slot"), ("limit", "most slots; at most 1000")],
        body: None,
        answers: &[(200, AOS_2, "page_info, edges")],
    },
    Described {
        method: Post,
        path: "/{process}~process@1.0/schedule",
        summary: "Schedules a message",
        query: &[],
        body: Some((ANS104, "a signed ANS-104 item for the process")),
        answers: &[(200, JSON, "id, slot, process, timestamp")],
    },
    Described {
        method: Get,
        path: "/{process}~process@1.0/slot/current",
        summary: "The newest slot",
        query: &[],
        body: None,
        answers: &[(200, TEXT, "its number")],
    },
    Described {
        method: Get,
        path: "/{process}~process@1.0/compute/results={slot}",
        summary: "What a slot came to; also by POST, with any signed body",
        query: &[],
        body: None,
        answers: &[(200, JSON, "raw (as /cu/result answers), outbox, data, json")],
    },
    Described {
        method: Get,
        path: "/{process}~process@1.0/compute&slot={slot}/results",
        summary: "The same",
        query: &[],
        body: None,
        answers: &[(200, JSON, "raw, outbox, data, json")],
    },
    Described {
        method: Get,
        path: "/{process}~process@1.0/now/results",
        summary: "What the newest slot came to",
        query: &[],
        body: None,
        answers: &[(200, JSON, "raw, outbox, data, json")],
    },
    Described {
        method: Post,
        path: "/{process}~process@1.0/as=execution/compute",
        summary: "What a message would come to; its tags are arguments of the path: compute&Name=value",
        query: &[],
        body: Some((ANS104, "a signed ANS-104 item with the data")),
        answers: &[(200, JSON, "raw")],
    },
];
