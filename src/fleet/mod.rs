//! The fleet's own words: agents, the projects they work on, the roles they work in. Pure: no I/O,
//! no clock, no runtime.

pub mod agent;
pub mod project;
pub mod role;
pub mod snapshot;

pub use agent::{Agent, AgentName, Status};
pub use project::Project;
pub use role::Role;
pub use snapshot::Snapshot;
