//! The control plane: HTTP and JSON over a Unix socket that only root and the daemon's own user can
//! reach. `api` is what both ends agree on; the daemon serves it, `fleetctl` asks.

pub mod api;
pub mod client;
mod handlers;
mod peer;
mod router;
pub mod socket;
mod tokens;

pub use router::{Control, serve};
