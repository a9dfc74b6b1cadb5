//! A node's words about itself, and this implementation's own paths.

use utoipa::openapi::path::HttpMethod::{Get, Post};

use super::{Described, JSON};

pub(super) const PATHS: &[Described] = &[
    Described {
        method: Get,
        path: "/health",
        summary: "Whether this node works",
        query: &[],
        body: None,
        answers: &[
            (200, JSON, "status, version, address, roles, network, peers, log_writable, and full if the disk is"),
            (503, JSON, "the same, and in error why it does not"),
        ],
    },
    Described {
        method: Get,
        path: "/metrics",
        summary: "This node's numbers",
        query: &[],
        body: None,
        answers: &[(200, "application/openmetrics-text", "OpenMetrics")],
    },
    Described {
        method: Get,
        path: "/openapi.json",
        summary: "This document",
        query: &[],
        body: None,
        answers: &[(200, JSON, "OpenAPI 3.1")],
    },
    Described {
        method: Get,
        path: "/ao/peers",
        summary: "This node, its network, and the units that announced themselves",
        query: &[],
        body: None,
        answers: &[(200, JSON, "address, peer_id, roles, multiaddrs, connected, module, network, units")],
    },
    Described {
        method: Get,
        path: "/ao/slots/{process}/{slot}",
        summary: "What is known of a slot: its assignment, its outcome chain, and who attested it",
        query: &[],
        body: None,
        answers: &[(200, JSON, "item, assignment, hash_chain, outcome_chain, attestations, …")],
    },
    Described {
        method: Get,
        path: "/ao/branches/{process}",
        summary: "The branches of a process as this node and its peers have them, and how its owner resumed it",
        query: &[],
        body: None,
        answers: &[(
            200,
            JSON,
            "owner, scheduler, scheduler_connected, epoch, disputed_from, branches with their ends and who has them, resumes",
        )],
    },
    Described {
        method: Post,
        path: "/ao/resume",
        summary: "Resume a process: its owner's signed item says after which slot of which branch, and under which scheduler",
        query: &[],
        body: Some(("application/octet-stream", "the signed item of Type Resume")),
        answers: &[
            (200, JSON, "id, process, slot, branch, scheduler, sequence, and whether it was new"),
            (403, JSON, "somebody else than the owner signed it"),
            (404, JSON, "the process is not known here"),
        ],
    },
    Described {
        method: Get,
        path: "/ao/deliveries/{process}/{slot}",
        summary: "What this node's messenger knows of the outbox of a slot",
        query: &[],
        body: None,
        answers: &[(200, JSON, "a list: index, target, state, and what belongs to the state")],
    },
    Described {
        method: Get,
        path: "/ao/dead-letters",
        summary: "What messengers could not deliver, because the receiver's scheduler refused it for good",
        query: &[
            ("process-id", "only what this process sent"),
            ("messenger", "only of this messenger; without it: of all that can be asked"),
            ("after", "the id after which the list goes on; only with messenger"),
            ("limit", "at most so many of each messenger, 1 to 1000"),
        ],
        body: None,
        answers: &[(
            200,
            JSON,
            "dead_letters: messenger, id, reason, can_be_driven, item, …; messengers: address, next",
        )],
    },
    Described {
        method: Post,
        path: "/ao/dead-letters",
        summary: "Drives dead letters again, each messenger at most 1000 of its own",
        query: &[],
        body: Some((JSON, "id: one of the list; or process: all that it sent; or neither: all")),
        answers: &[(200, JSON, "messengers: address, driven, or error")],
    },
    Described {
        method: Get,
        path: "/ao/mirror",
        summary: "How far this node's log is on Arweave",
        query: &[],
        body: None,
        answers: &[(
            200,
            JSON,
            "mirrors, and if so: url, wallet, waiting, bundles on their way, landed with sums of all, error: the last",
        )],
    },
    Described {
        method: Get,
        path: "/race/{process}",
        summary: "Who resolves a process: where each compute unit stands, who won which slots, and who was found lying",
        query: &[("from", "the first slot; without it: the last laps"), ("limit", "most laps, 1 to 200")],
        body: None,
        answers: &[(
            200,
            JSON,
            "quorum, computed, certain, disputed_from, units with what they won, laps, lies with what was signed",
        )],
    },
    Described {
        method: Get,
        path: "/trace/{id}",
        summary: "Where a message is: its slot, who computed it, what it came to, and the same of all that it caused",
        query: &[
            ("process-id", "the process that got it, if the message does not say"),
            ("depth", "how many generations are followed, 1 to 16"),
        ],
        body: None,
        answers: &[(
            200,
            JSON,
            "id, process, slot, state, computed_by, output or error, outbox: entries with a trace each",
        )],
    },
];
