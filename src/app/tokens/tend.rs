//! What happens to tokens with time: secrets end, and their use is written down.

use std::{
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Issued, Tokens};
use crate::{
    app::{audit, sync::fence},
    auth::TokenName,
};

/// How often the clock is looked at while secrets have ends: it may have been set.
const LOOK: Duration = Duration::from_secs(1);
/// How often use is written down.
const WRITE_DOWN: Duration = Duration::from_secs(60);

impl Tokens {
    /// Ends what is in flight with secrets whose time is over, and writes use down now and then.
    /// Never returns; may be dropped at any time.
    pub async fn tend(&self) {
        let mut seen = self.clock.now();
        let mut write_down = Instant::now() + WRITE_DOWN;
        loop {
            tokio::select! {
                () = self.until_an_end(seen) => {}
                () = self.changed.notified() => {}
                () = sleep_until(write_down) => {
                    self.write_down_use().await;
                    write_down = Instant::now() + WRITE_DOWN;
                }
            }
            let now = self.clock.now();
            self.end_between(seen, now);
            seen = now;
        }
    }

    async fn until_an_end(&self, seen: Timestamp) {
        let next = self.registry().next_end(seen);
        match next {
            None => std::future::pending().await,
            Some(end) => {
                let wait = end.duration_since(self.clock.now()).unsigned_abs();
                let is_over = end <= self.clock.now();
                sleep(if is_over { Duration::ZERO } else { wait.min(LOOK) }).await;
            }
        }
    }

    /// Requests are judged by the clock; this is for those in flight. The secret is known anew: should
    /// the clock be set back, it counts again.
    pub(super) fn end_between(&self, seen: Timestamp, now: Timestamp) {
        // At once: a change that came in between would go on with what is ended here.
        let ended = self.registry_mut(|registry| {
            let ended = registry.ended_between(seen, now);
            for issued in &ended {
                issued.over().cancel();
                let name = &issued.token().name;
                let secrets = registry.named(name).map(counting).collect();
                registry.set(name, secrets);
            }
            ended
        });
        for issued in ended {
            let (name, why) = (&issued.token().name, issued.generation.over(now));
            audit::token_ended(name.as_str(), &issued.generation.digest.fingerprint(), why);
        }
    }

    /// Writes down how secrets were used, if they were. A disk that refuses costs nothing else.
    pub async fn write_down_use(&self) {
        if !self.unsaved_use.swap(false, Relaxed) {
            return;
        }
        fence(SeqCst);
        let _one_at_a_time = self.changing.lock().await;
        let name = TokenName::primary();
        let outcome = "the use of tokens was not written down";
        if let Err(error) = self.persist(&name, &self.secrets(&name), outcome).await {
            self.unsaved_use.store(true, Relaxed);
            tracing::warn!(error = &error as &dyn std::error::Error, "{error}");
        }
    }
}

/// The secret, as it is to be known: not as one with which everything ends at once.
pub(super) fn counting(issued: &Arc<Issued>) -> Arc<Issued> {
    match issued.is_over() {
        true => issued.anew(issued.generation.clone()),
        false => Arc::clone(issued),
    }
}
