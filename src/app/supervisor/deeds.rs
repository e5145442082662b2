//! What is done about sessions: once a batch is durable, and at the end.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{
    batch::{Batch, Deed, Mail},
    fleet::Fleet,
    spec,
};
use crate::{
    app::{
        audit,
        ports::sessions::{Cause, News, Report, Whose},
    },
    fleet::AgentName,
};

/// How long sessions may take to end with the daemon, beyond the grace of their programs.
const PARTING: Duration = Duration::from_secs(5);

impl Fleet {
    /// Does something about an agent's session; what comes of it at once is a mail.
    pub(super) fn act(&mut self, deed: Deed) -> Option<Mail> {
        match deed {
            Deed::Open(name, resume) => {
                let berth = self.berths.get_mut(&name)?;
                let agent = &berth.life.agent;
                match spec::of(agent, resume, &self.parts.settings.borrow()) {
                    Ok(spec) => {
                        berth.orders = Some(self.parts.sessions.open(spec, self.reports.clone()));
                        None
                    }
                    Err(why) => {
                        let ended = News::Ended(Cause::NotOpened(why));
                        Some(Mail::Report(Report::of(agent.id, ended)))
                    }
                }
            }
            Deed::Order(id, order) => {
                let berth = self.berths.get_mut(self.names.get(&id)?)?;
                let sent = berth.orders.as_ref().map(|orders| orders.try_send(order));
                if let Some(Err(error)) = sent {
                    // A session that takes no orders is beyond help: dropping the line ends it.
                    tracing::warn!(agent = %berth.life.agent.name, %error, "a session takes no orders");
                    berth.orders = None;
                }
                None
            }
            Deed::Publish(name) => {
                let whose = self.whose(&name)?;
                let orders = self.parts.sessions.publish(whose, self.reports.clone());
                self.berths.get_mut(&name)?.orders = Some(orders);
                None
            }
            Deed::Remove(name) => {
                self.parts.sessions.remove(self.whose(&name)?, self.reports.clone());
                None
            }
            Deed::Forget(id) => {
                audit::agent_deleted(id);
                None
            }
        }
    }

    /// An agent, with the repository of its project as far as it is configured.
    fn whose(&self, name: &AgentName) -> Option<Whose> {
        let agent = &self.berths.get(name)?.life.agent;
        let settings = self.parts.settings.borrow();
        let project = settings.projects.iter().find(|project| project.name == agent.project);
        let repository = project.and_then(|project| project.repository.clone());
        let slot = agent.slot.clone();
        Some(Whose { agent: agent.id, name: name.clone(), slot, repository })
    }

    /// Lets go of sessions that outlive the daemon. Ends all others and waits until none is left;
    /// what agents still say is kept, and their tasks are over when the next daemon finds them.
    pub(super) async fn part(mut self, mut reports: mpsc::Receiver<Report>) {
        if self.parts.sessions.outlive() {
            // What was not acknowledged is told again to the next daemon.
            return self.parts.sessions.let_go();
        }
        let closing = self.berths.values_mut().filter_map(|berth| berth.orders.take());
        let mut open = closing.count();
        let grace = self.parts.settings.borrow().fleet.close_grace_secs;
        let deadline = tokio::time::Instant::now() + PARTING + Duration::from_secs(grace.into());
        let mut batch = Batch::default();
        while open > 0 {
            let Ok(Some(mut report)) = tokio::time::timeout_at(deadline, reports.recv()).await
            else {
                tracing::warn!(open, "agents have not ended in time");
                break;
            };
            if report.news.iter().any(|news| matches!(news, News::Ended(_))) {
                open -= 1;
            }
            report.news.retain(|news| {
                matches!(news, News::Said(_) | News::Published(_) | News::NotPublished(_))
            });
            self.report(&report, self.parts.clock.now(), &mut batch);
        }
        if let Err(error) = self.commit(&batch).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "agents' last words are lost"
            );
        }
    }
}
