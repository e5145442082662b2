//! The use cases that both planes call.

pub mod clock;
pub mod ports;
pub mod settings;
