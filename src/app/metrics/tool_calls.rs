//! How often each tool was called, and how that ended.

use std::{
    collections::BTreeMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Names are of the table of tools, never a caller's: `'static` says so.
#[derive(Debug, Default)]
pub(super) struct ToolCalls(RwLock<BTreeMap<&'static str, Calls>>);

#[derive(Debug, Default)]
struct Calls {
    ok: AtomicU64,
    error: AtomicU64,
}

impl ToolCalls {
    pub(super) fn count(&self, tool: &'static str, succeeded: bool) {
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(calls) = known.get(tool) {
                return calls.count(succeeded);
            }
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(tool).or_default().count(succeeded);
    }

    /// Tool, outcome and count, of all that were called.
    pub(super) fn read(&self) -> Vec<([&'static str; 2], u64)> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let both = |(tool, calls): (&&'static str, &Calls)| {
            [([*tool, "ok"], calls.ok.load(Relaxed)), ([*tool, "error"], calls.error.load(Relaxed))]
        };
        known.iter().flat_map(both).collect()
    }
}

impl Calls {
    fn count(&self, succeeded: bool) {
        let outcome = if succeeded { &self.ok } else { &self.error };
        outcome.fetch_add(1, Relaxed);
    }
}
