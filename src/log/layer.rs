//! From tracing's events to owned items in the bounded queue. Runs in whichever thread logs, so
//! nothing here may wait.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    subscriber::Interest,
};
use tracing_subscriber::{Layer, filter::Targets, layer::Context};

use super::{
    access::Access,
    entry::Entry,
    text::Clean,
    writer::{Item, Queue},
};
use crate::app::{
    clock::Clock,
    log_targets::{ACCESS_TARGET, AUDIT_TARGET},
    recorder::Recorder,
};

/// What passes; changed by a reload.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) targets: Targets,
    /// Whether there is an access log.
    pub(super) access: bool,
}

/// Puts each wanted event into the queue.
///
/// Gives tracing no hint about the most verbose level: an audit event passes at any. What is not
/// wanted costs one atomic load all the same, because interest is cached for each call site.
pub(super) struct LogLayer {
    pub(super) rules: Arc<RwLock<Rules>>,
    pub(super) queue: Queue,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) recorder: Option<Recorder>,
}

impl LogLayer {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        // Nothing here uses spans.
        if metadata.is_span() {
            return false;
        }
        match metadata.target() {
            AUDIT_TARGET => true,
            ACCESS_TARGET => self.rules().access,
            target => self.rules().targets.would_enable(target, metadata.level()),
        }
    }

    fn rules(&self) -> std::sync::RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now = self.clock.now();
        let item = if event.metadata().target() == ACCESS_TARGET {
            let mut access = Access::at(now);
            event.record(&mut access);
            Item::Access(Box::new(access))
        } else {
            let mut entry = Entry::of_event(event.metadata(), now);
            event.record(&mut EntryVisitor(&mut entry));
            if let (None, Some(recorder)) = (entry.target, &self.recorder) {
                recorder.offer(entry.to_event());
            }
            Item::Entry(Box::new(entry))
        };
        self.queue.offer(item);
    }
}

struct EntryVisitor<'a>(&'a mut Entry);

impl EntryVisitor<'_> {
    fn record(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let value = Clean::plain(value);
        if field.name() == "message" {
            self.0.message = value;
        } else {
            self.0.push(field.name(), value);
        }
    }
}

impl Visit for EntryVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, format_args!("{value}"));
    }

    // Our errors keep their cause out of their text, so that it has to be asked for.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record(field, format_args!("{}", Chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, format_args!("{value:?}"));
    }
}

/// An error and what caused it.
pub(super) struct Chain<'a>(pub(super) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
