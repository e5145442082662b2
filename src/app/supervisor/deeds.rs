//! What is done about sessions once a batch is durable.

use super::{
    batch::{Deed, Mail},
    fleet::Fleet,
    spec,
};
use crate::app::{
    audit,
    ports::sessions::{Cause, News, Report},
};

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
                    Err(why) => Some(Mail::Report(Report {
                        agent: agent.id,
                        news: News::Ended(Cause::NotOpened(why)),
                        receipt: None,
                    })),
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
            Deed::Remove(id, name) => {
                self.parts.sessions.remove(id, name, self.reports.clone());
                None
            }
            Deed::Forget(id) => {
                audit::agent_deleted(id);
                None
            }
        }
    }
}
