//! Real nodes: separate processes that are killed with `kill -9`, started again, joined late, fed with nonsense; and
//! nodes within this process where a partition is needed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "nodes/bad_input.rs"]
mod bad_input;
#[path = "nodes/branches.rs"]
mod branches;
#[path = "nodes/chain.rs"]
mod chain;
#[path = "nodes/checkpoints.rs"]
mod checkpoints;
#[path = "nodes/client_queries.rs"]
mod client_queries;
#[path = "nodes/console.rs"]
mod console;
#[path = "nodes/crashes.rs"]
mod crashes;
#[path = "nodes/cron.rs"]
mod cron;
#[path = "nodes/fairness.rs"]
mod fairness;
#[path = "nodes/faulty_gateway.rs"]
mod faulty_gateway;
#[path = "nodes/gateway.rs"]
mod gateway;
#[path = "nodes/hostile.rs"]
mod hostile;
#[path = "nodes/http.rs"]
mod http;
#[path = "nodes/hyperbeam.rs"]
mod hyperbeam;
#[path = "nodes/legacy.rs"]
mod legacy;
#[path = "nodes/local.rs"]
mod local;
#[path = "nodes/mirror.rs"]
mod mirror;
#[path = "nodes/moved.rs"]
mod moved;
#[path = "nodes/network.rs"]
mod network;
#[path = "nodes/partition.rs"]
mod partition;
#[path = "nodes/permaweb.rs"]
mod permaweb;
#[path = "nodes/recover.rs"]
mod recover;
#[path = "nodes/restart.rs"]
mod restart;
#[path = "nodes/simple_gateway.rs"]
mod simple_gateway;
#[path = "nodes/trace.rs"]
mod trace;
