//! Claims about the real programs, a module per family. Each test starts its own daemon on a port
//! that the kernel chooses, in a directory of its own, and ends it.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod support;

mod access_log;
mod acp_driver;
mod agents;
mod authorization_header;
mod config;
mod connections;
mod control_socket;
mod doctor;
mod events;
mod faults;
mod fleet;
mod guard;
mod guarded_routes;
mod hardening;
mod journal;
mod life_and_death;
mod mcp_protocol;
mod metrics;
mod packaging;
mod plain_http;
mod raw_requests;
mod refused_bodies;
mod rotation;
mod specification;
mod supervised;
mod tls;
mod token_file;
mod tokens;
mod while_off;

mod architecture;
mod documentation;
