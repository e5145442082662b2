//! Memory that was needed for a while goes back to the system.
//!
//! glibc keeps what was freed between blocks that live on: after a crowd of 3,000 connections that
//! was 95 MiB, for as long as the daemon ran, whatever its variables said. It gives back what
//! it is asked for, so it is asked when there is nothing else to do.

use std::time::Duration;

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(10);
/// So much processor time, in milliseconds, between two looks at most is rest.
const REST: i64 = 500;
/// After so much since the last time there may be something to give back.
const WORK: i64 = 100;

/// Gives memory back whenever rest comes after work. Never returns.
pub(super) async fn give_back() {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut done) = (0, 0);
    loop {
        ticks.tick().await;
        let Some(used) = processor_time() else { return };
        if used - seen <= REST && used - done >= WORK {
            // It locks one arena after the other, for milliseconds: not on a thread that serves.
            if spawn_blocking(trim).await.is_err() {
                return;
            }
            done = used;
        }
        seen = used;
    }
}

/// Of all threads, in milliseconds.
fn processor_time() -> Option<i64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds())
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no crate has a safe form of it")]
fn trim() {
    // SAFETY: it takes a number, may be called by any thread at any time, and touches nothing that
    // is in use.
    unsafe { nix::libc::malloc_trim(0) };
}

/// Other allocators keep less, or have no such call.
#[cfg(not(target_env = "gnu"))]
fn trim() {}
