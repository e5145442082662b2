//! What every test needs: a real daemon, a way to talk to it, and conditions to wait for.

mod certificate;
mod control;
mod daemon;
mod disk;
mod http;
mod journal;
mod kept;
mod log;
mod manager;
mod program;
mod slots;
mod stream;
mod users;
mod wait;
mod wire;

pub(crate) use certificate::Certificate;
pub(crate) use control::Control;
pub(crate) use daemon::{Builder, TestDaemon};
pub(crate) use disk::{SmallDisk, mount, unmount};
pub(crate) use http::{Request, Response};
pub(crate) use journal::{Fields, Journal, journal_field};
pub(crate) use kept::Kept;
pub(crate) use log::{entries, field, whole_log};
pub(crate) use program::{Running, example, sh, stderr, stdout};
pub(crate) use stream::{Stream, events};
pub(crate) use users::{NOBODY, is_root, left_out_without_root, unprivileged};
pub(crate) use wait::{PATIENCE, eventually};
pub(crate) use wire::Wire;
