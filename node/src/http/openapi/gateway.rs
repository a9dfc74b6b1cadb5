//! What a node serves as a gateway does.

use utoipa::openapi::path::HttpMethod::{Get, Post};

use super::{Described, ITEM, JSON, TEXT};

/// How data is answered.
const DATA: &[(u16, &str, &str)] =
    &[(200, ITEM, "the data, as what its Content-Type tag says"), (206, ITEM, "the range that was asked for")];
/// What an upload is.
const UPLOAD: (&str, &str) = (ITEM, "a signed ANS-104 item");
/// What is answered to an upload.
const RECEIPT: &[(u16, &str, &str)] = &[(200, JSON, "a signed receipt: id, timestamp, deadlineHeight, signature, …")];

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
        answers: DATA,
    },
    Described { method: Get, path: "/raw/{id}", summary: "The same", query: &[], body: None, answers: DATA },
    Described {
        method: Get,
        path: "/graphql",
        summary: "Items and blocks by GraphQL",
        query: &[("query", "the query"), ("variables", "its variables, as JSON"), ("operationName", "which operation")],
        body: None,
        answers: &[(200, JSON, "data, errors")],
    },
    Described {
        method: Post,
        path: "/graphql",
        summary: "Items and blocks by GraphQL",
        query: &[],
        body: Some((JSON, "query, variables, operationName")),
        answers: &[(200, JSON, "data, errors")],
    },
    Described {
        method: Post,
        path: "/tx",
        summary: "Keeps an item, as bundlers do",
        query: &[],
        body: Some(UPLOAD),
        answers: RECEIPT,
    },
    Described {
        method: Post,
        path: "/tx/{currency}",
        summary: "The same; nothing is charged",
        query: &[],
        body: Some(UPLOAD),
        answers: RECEIPT,
    },
    Described { method: Post, path: "/v1/tx", summary: "The same", query: &[], body: Some(UPLOAD), answers: RECEIPT },
    Described {
        method: Post,
        path: "/v1/tx/{currency}",
        summary: "The same",
        query: &[],
        body: Some(UPLOAD),
        answers: RECEIPT,
    },
];
