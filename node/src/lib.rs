//! The world around ao's rules: disk, network, evaluation, HTTP.

pub mod net;
pub mod store;
