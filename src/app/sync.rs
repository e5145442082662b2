//! What threads share where many look up while one changes: the standard library's, and tokio's.
//!
//! In a model the same code gets loom's instead, which runs it in every order that matters
//! (`docs/reliability.md`).

#[cfg(test)]
pub(crate) mod modelled;

#[cfg(not(test))]
pub(super) use std::sync::{
    OnceLock, RwLock, RwLockReadGuard,
    atomic::{AtomicBool, AtomicI64, AtomicU64, fence},
};
#[cfg(not(test))]
pub(super) use tokio::{spawn, task::spawn_blocking};

#[cfg(test)]
pub(super) use self::modelled::{
    AtomicBool, AtomicI64, AtomicU64, OnceLock, RwLock, RwLockReadGuard, fence, spawn,
    spawn_blocking,
};
