//! What is decided together, committed together, and then carried out.

use std::{collections::BTreeMap, sync::Arc};

use super::{Asked, Reply, berth::Berth, work::Work};
use crate::{
    app::{
        error::FleetError,
        ports::{
            fleet_store::Change,
            sessions::{Checkpoint, Order, Report},
        },
    },
    fleet::{AgentId, AgentName, snapshot::Member},
};

/// What reaches the supervisor.
pub(super) enum Mail {
    Wish(Asked),
    Report(Report),
    Tick,
    /// The first look at the fleet after a start.
    Revive,
}

/// One batch: from the mails to what is to be done about them.
#[derive(Default)]
pub(super) struct Batch {
    /// To be made durable.
    pub(super) changes: Vec<Change>,
    /// From where sessions can be taken up after it: to be made durable, too.
    pub(super) checkpoints: BTreeMap<AgentId, Checkpoint>,
    /// To be done once it is.
    pub(super) deeds: Vec<Deed>,
    /// To be answered once it is.
    pub(super) answers: Vec<(Reply, Result<Arc<Member>, FleetError>)>,
    /// To be acknowledged once it is; to be told again if it can't be.
    pub(super) reports: Vec<Report>,
    /// The berths as they were, to be put back if it can't be; `None` where there was none.
    pub(super) before: BTreeMap<AgentName, Option<Berth>>,
    /// What has become of the work of agents that are gone.
    pub(super) gone: BTreeMap<AgentName, (AgentId, Work)>,
    /// The first mail was [`Mail::Revive`].
    pub(super) reviving: bool,
}

/// Something to be done about an agent's session.
pub(super) enum Deed {
    /// Start its program; resume this session.
    Open(AgentName, Option<String>),
    Order(AgentId, Order),
    /// Publish the work of an agent without a session.
    Publish(AgentName),
    Remove(AgentName),
    Forget(AgentId),
}
