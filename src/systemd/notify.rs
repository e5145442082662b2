//! `sd_notify`: the daemon's state, for `systemctl`. Silent when nobody supervises.

use std::{
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;

/// How often more time is asked for.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// How much.
const MORE_TIME: Duration = Duration::from_secs(15);

/// Whether a service manager listens.
pub fn is_supervised() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// The daemon serves; this is how it is.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// How the daemon is now.
pub fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// A reload has begun. [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "can't read the monotonic clock"),
    }
}

/// The daemon was told to stop and may need this long.
pub fn stopping(drain: Duration) {
    send(&[
        NotifyState::Stopping,
        more_time(drain),
        NotifyState::Status("Stopping: requests in flight are being finished"),
    ]);
}

/// How often the manager wants a sign of life; `None` if it does not, or not from this process.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|within| is_supervised() && !within.is_zero())
}

/// The sign of life.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// Asks for more time, again and again, until it is dropped: something takes long that is not to be
/// taken for hanging.
#[derive(Debug)]
pub struct MoreTime(Option<SyncSender<()>>);

impl MoreTime {
    /// Asks for no longer than this: what takes still longer hangs.
    pub fn until_dropped(limit: Duration) -> Self {
        if !is_supervised() {
            return Self(None);
        }
        let (keep, dropped) = sync_channel::<()>(0);
        let give_up = Instant::now() + limit;
        let asks = thread::Builder::new().name("more time".to_owned()).spawn(move || {
            while Instant::now() < give_up
                && dropped.recv_timeout(ASK_INTERVAL) == Err(RecvTimeoutError::Timeout)
            {
                send(&[more_time(MORE_TIME)]);
            }
        });
        if let Err(error) = asks {
            tracing::warn!(%error, "can't ask the service manager for more time");
        }
        Self(Some(keep))
    }

    /// What took long is done.
    pub fn enough(&mut self) {
        self.0 = None;
    }
}

fn more_time(time: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "can't notify the service manager");
    }
}
