//! The use cases that both planes call.

pub mod clock;
pub mod log_targets;
pub mod ports;
pub mod settings;
