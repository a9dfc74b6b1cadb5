//! What a local network of node processes shares with tests that start nodes themselves.

pub mod reserved_port;
