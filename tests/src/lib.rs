//! What ao-node is tested with: a simulation, real nodes, real clients, and rules of style.

pub mod arweave;
pub mod lab;
pub mod liar;
pub mod load;
pub mod nodes;
pub mod sim;
pub mod tidy;
