//! Who holds streams of change notifications open. They stay for hours, so they have places of their
//! own: they keep out no request, and nobody's keep out all of somebody else's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::extract::Request;

use super::context::context;
use crate::{
    app::metrics::Metrics,
    auth::{Principal, Source},
};

/// One in so many connections may be held by streams; one in so many streams by one holder.
const SHARE: usize = 4;

/// All open streams.
#[derive(Clone)]
pub(super) struct Streams {
    open: Arc<Mutex<HashMap<Holder, usize>>>,
    metrics: Arc<Metrics>,
}

/// Whose streams are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holder {
    Principal(String),
    /// Without tokens, everyone is the same principal.
    Source(Source),
}

/// A place; free again when dropped.
pub(super) struct Place {
    streams: Streams,
    holder: Holder,
}

impl Streams {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { open: Arc::default(), metrics }
    }

    /// A place for the stream that this request wants.
    ///
    /// # Errors
    /// How many there may be at once, if there are so many.
    pub(super) fn enter(&self, request: &Request, max_connections: usize) -> Result<Place, usize> {
        let holder = match request.extensions().get::<Principal>() {
            Some(principal @ Principal::Token { .. }) => Holder::Principal(principal.name()),
            _ => Holder::Source(Source::of(context(request).client.ip())),
        };
        self.take(holder, max_connections)
    }

    fn take(&self, holder: Holder, max_connections: usize) -> Result<Place, usize> {
        let most = (max_connections / SHARE).max(1);
        let most_of_one = (most / SHARE).max(1);
        let mut open = self.lock();
        if open.values().sum::<usize>() >= most {
            return Err(most);
        }
        let held = open.entry(holder.clone()).or_default();
        if *held >= most_of_one {
            return Err(most_of_one);
        }
        *held += 1;
        self.metrics.http.stream_opened();
        Ok(Place { streams: self.clone(), holder })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if let Some(held) = open.get_mut(&self.holder) {
            *held -= 1;
            if *held == 0 {
                open.remove(&self.holder);
            }
        }
        self.streams.metrics.http.stream_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> Holder {
        Holder::Principal(name.to_owned())
    }

    #[test]
    fn nobody_can_take_the_places_of_all_others() {
        let streams = Streams::new(Arc::default());

        let taken: Vec<_> = (0..8).map(|_| streams.take(token("greedy"), 64)).collect();

        let given = taken.iter().filter(|place| place.is_ok()).count();
        assert_eq!(given, 4);
        assert_eq!(streams.take(token("greedy"), 64).err(), Some(4));
        assert!(streams.take(token("other"), 64).is_ok());
    }

    #[test]
    fn all_together_leave_connections_for_requests() {
        let streams = Streams::new(Arc::default());

        let taken: Vec<_> =
            (0..64).map(|number| streams.take(token(&number.to_string()), 64)).collect();

        assert_eq!(taken.iter().filter(|place| place.is_ok()).count(), 16);
        assert_eq!(streams.take(token("late"), 64).err(), Some(16));
        drop(taken);
        assert!(streams.take(token("late"), 64).is_ok());
        assert!(streams.lock().is_empty(), "places that are free take no memory");
    }
}
