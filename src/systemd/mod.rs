//! What the daemon and the service manager tell each other.

pub mod notify;
pub mod store;
