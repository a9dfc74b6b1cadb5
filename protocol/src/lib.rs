//! The nouns and rules of ao, apart from the world: no async, sockets, disk or clock.
//!
//! Nouns ([`item`], [`process`], [`message`], [`assignment`], [`outcome`], …) are parsed once from verified bytes.
//! Rules ([`scheduler`], [`compute`], [`messenger`], [`repair`]) read a [`log`] and return what is to be written and
//! done; they never write, wait or evaluate. `ao-node` is the world around them.

pub mod agreement;
pub mod announcement;
pub mod assignment;
pub mod attestation;
pub mod attested;
pub mod attesting;
pub mod backfill;
pub mod backoff;
pub mod branch;
pub mod certificate;
pub mod checkpoint;
pub mod commit;
pub mod compute;
pub mod cron;
pub mod dissent;
pub mod entry;
pub mod evidence;
pub mod id;
pub mod item;
pub mod log;
pub mod message;
pub mod messenger;
pub mod mirror;
pub mod module;
pub mod network;
pub mod origin;
pub mod outcome;
pub mod process;
pub mod race;
pub mod reference;
mod referring;
pub mod repair;
pub mod resume;
#[cfg(test)]
mod sample;
pub mod scheduler;
pub mod seal;
pub mod tag;
pub mod transaction;
pub mod trust;
pub mod wallet;
pub mod wire;
