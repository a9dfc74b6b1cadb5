//! A seeded simulation of the protocol's real rules: a few nodes with all roles, virtual time, and everything that can
//! go wrong between and within them. After each run [`checks`] looks at what must hold.

mod attacker;
mod checks;
mod disk;
mod liar;
mod machine;
mod node;
mod owner;
mod plan;
mod world;

pub use world::{Sabotage, run};
