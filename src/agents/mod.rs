//! Agents as processes: the host that each of them lives under, the link between a host and the
//! daemon, and the drivers that speak with agent programs.

pub mod demo;
pub mod drivers;
pub mod io;
