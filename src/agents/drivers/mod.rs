//! The ways of talking to an agent program, a file each. A driver sees lines and orders, and reports
//! what happens; it knows nothing of processes.

pub mod acp;
pub mod command;
mod noise;
mod told;
