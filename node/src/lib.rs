//! The world around `ao-protocol`'s rules.

pub mod vm;
