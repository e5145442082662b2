//! What is counted where no use case can see it.

use std::{fs, sync::Arc};

use nix::{
    sys::resource::{Resource, getrlimit},
    unistd::{SysconfVar, sysconf},
};

use crate::{
    app::metrics::{Figures, ProcessFigures, StoreFigures},
    log,
    stores::FleetDb,
};

/// The log's, the store's and the process's figures.
pub(super) struct OwnFigures {
    pub(super) log: Arc<log::Guard>,
    pub(super) db: Arc<FleetDb>,
}

impl Figures for OwnFigures {
    fn log_entries_dropped(&self) -> u64 {
        self.log.dropped()
    }

    fn store(&self) -> StoreFigures {
        let committed = self.db.committed();
        StoreFigures { calls: committed.calls(), transactions: committed.transactions() }
    }

    fn process(&self) -> ProcessFigures {
        ProcessFigures {
            resident_bytes: resident_bytes(),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as u64),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        }
    }
}

/// The second number of `statm` is in pages.
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}
