//! What every test needs: a real daemon, a way to talk to it, and conditions to wait for.

mod daemon;
mod http;
mod wait;

pub(crate) use daemon::{Builder, TestDaemon};
pub(crate) use http::{Request, Response};
pub(crate) use wait::{PATIENCE, eventually};
