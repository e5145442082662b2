//! The agent host: a small process that prepares an agent's workspace, starts its program, relays its
//! streams and reports how it ended.

pub mod exchange;
pub mod frames;
