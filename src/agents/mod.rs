//! Agents as processes: the host that each of them lives under, the link between a host and the
//! daemon, and the drivers that speak with agent programs.

pub mod child;
pub mod demo;
pub mod drivers;
pub mod host;
pub mod io;
pub mod launch;
pub mod link;
pub mod processes;
pub mod publish;
pub mod sessions;
pub mod slots;
