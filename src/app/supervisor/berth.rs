//! An agent's place in the fleet.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::work::Work;
use crate::{
    app::ports::sessions::Order,
    auth::Projects,
    fleet::{Life, snapshot::Member},
};

/// An agent's place: its life, and the line to its session.
#[derive(Clone)]
pub(super) struct Berth {
    pub(super) life: Life,
    pub(super) orders: Option<mpsc::Sender<Order>>,
    /// How many orders its session was given that count.
    pub(super) ordered: u64,
    /// Bytes and entries that went to its log since it was last cut.
    pub(super) logged: (u64, u32),
    pub(super) work: Work,
}

impl Berth {
    pub(super) fn new(life: Life) -> Self {
        Self { life, orders: None, ordered: 0, logged: (0, 0), work: Work::default() }
    }

    pub(super) fn is_seen_by(&self, projects: &Projects) -> bool {
        projects.cover(&self.life.agent.project)
    }

    pub(super) fn member(&self) -> Arc<Member> {
        Arc::new(Member { agent: self.life.agent.clone(), task: self.life.task.clone() })
    }
}
