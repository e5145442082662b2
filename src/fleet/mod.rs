//! The fleet's own words: agents, the projects they work on, the roles they work in. Pure: no I/O,
//! no clock, no runtime.

pub mod agent;
pub mod entry;
pub mod lifecycle;
pub mod logs;
pub mod program;
pub mod project;
pub mod role;
pub mod slot;
pub mod snapshot;
pub mod task;

pub use agent::{Agent, AgentId, AgentName, Publication, Status};
pub use entry::{Entry, EntryKind, LogEntry};
pub use lifecycle::{Life, Limits};
pub use logs::Logs;
pub use program::{Driver, Program};
pub use project::Project;
pub use role::{FleetToken, Permissions, Role};
pub use slot::Slot;
pub use snapshot::Snapshot;
pub use task::{Question, Task, TaskId, TaskStatus, Usage};
