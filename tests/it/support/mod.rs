//! What every test needs: a real daemon, a way to talk to it, and conditions to wait for.

mod certificate;
mod daemon;
mod http;
mod log;
mod wait;
mod wire;

pub(crate) use certificate::Certificate;
pub(crate) use daemon::{Builder, TestDaemon};
pub(crate) use http::{Request, Response};
pub(crate) use log::{entries, field, whole_log};
pub(crate) use wait::{PATIENCE, eventually};
pub(crate) use wire::Wire;
