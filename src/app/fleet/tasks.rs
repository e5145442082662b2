//! One task by its identity, whether it is its agent's newest one or long over.

use std::sync::Arc;

use super::{Fleet, unreadable};
use crate::{
    app::error::FleetError,
    fleet::{Task, TaskId, snapshot::Member},
};

impl Fleet<'_> {
    /// A task, and its agent as it is now.
    ///
    /// # Errors
    /// When there is no such task. One whose agent is gone, or is not to be seen, is none; the answer
    /// is the same. When the store can't be read.
    pub async fn show_task(&self, id: TaskId) -> Result<(Arc<Member>, Task), FleetError> {
        let newest = |member: &Member| member.task.as_ref().is_some_and(|task| task.id == id);
        if let Some(member) = self.first_with(newest)
            && let Some(task) = member.task.clone()
        {
            return Ok((member, task));
        }
        // What is no agent's newest task is over: the store has its last word.
        let stored = self.app.store.task(id).await.map_err(|error| unreadable(&error))?;
        let owned = stored.and_then(|task| {
            let member = self.first_with(|member| member.agent.id == task.agent)?;
            Some((member, task))
        });
        owned.ok_or_else(|| FleetError::no_task(id))
    }

    /// What the agent said last in a task.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn last_words(&self, task: TaskId) -> Result<Option<String>, FleetError> {
        self.app.store.last_message(task).await.map_err(|error| unreadable(&error))
    }

    /// The first agent to be seen of which this is true.
    fn first_with(&self, is_it: impl Fn(&Member) -> bool) -> Option<Arc<Member>> {
        let snapshot = self.app.snapshot();
        snapshot.agents.values().find(|member| self.sees(member) && is_it(member)).cloned()
    }
}
