//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// How long a condition may take to come true on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);

/// Polls until there is an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`].
#[expect(clippy::disallowed_methods, reason = "the pause between two looks at the condition")]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(PAUSE);
    }
}
