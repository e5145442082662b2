//! Claims about the real programs, a module per family. Each test starts its own daemon on a port
//! that the kernel chooses, in a directory of its own, and ends it.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod support;

mod acp_driver;
mod first_light;
