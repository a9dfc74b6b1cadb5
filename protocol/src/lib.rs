//! The nouns and rules of ao, apart from the world: no async, sockets, disk or clock.
//!
//! Nouns ([`item`], [`process`], [`message`], [`assignment`], [`outcome`], …) are parsed once from verified bytes.
//! Rules ([`scheduler`], [`compute`], [`messenger`], [`repair`]) read a [`log`] and return what is to be written and
//! done; they never write, wait or evaluate. `ao-node` is the world around them.

pub mod id;
pub mod item;
pub mod tag;
pub mod wallet;
