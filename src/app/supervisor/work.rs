//! What becomes of agents' work, and who waits to hear of it.

use std::{collections::HashMap, path::PathBuf};

use tokio::sync::oneshot;

use super::news;
use crate::{
    app::ports::sessions::News,
    fleet::{AgentId, Publication},
};

/// What has become of an agent's work.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Work {
    /// The newest try to publish it.
    pub branch: Branch,
    /// The workspace that was to be removed and is still there, and why.
    pub kept: Option<(PathBuf, String)>,
}

/// What came of publishing a branch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Branch {
    /// Nobody has tried.
    #[default]
    Untouched,
    /// There is no branch, for this reason.
    Nothing(String),
    /// It can be fetched.
    Published(Publication),
    /// It could not be published, for this reason.
    Failed(String),
}

impl Work {
    /// Takes in what the agent's session tells.
    pub(super) fn hear(&mut self, news: &News) {
        match news {
            News::Published(publication) => self.branch = Branch::Published(publication.clone()),
            News::NotPublished(why) => self.branch = Branch::Failed(why.clone()),
            News::NothingToPublish(why) => self.branch = Branch::Nothing(why.clone()),
            News::Kept { workspace, why } => self.kept = Some((workspace.clone(), why.clone())),
            _ => {}
        }
    }

    /// What a person has to know of it.
    pub fn words(&self) -> Option<String> {
        let branch = match &self.branch {
            Branch::Published(publication) => {
                Some(format!("the work is published: {}", publication.fetch()))
            }
            Branch::Failed(why) => Some(format!("the work is not published: {why}")),
            Branch::Untouched | Branch::Nothing(_) => None,
        };
        let kept = self.kept.as_ref().map(|(workspace, why)| {
            format!("the workspace `{}` is kept: {why}", workspace.display())
        });
        branch.into_iter().chain(kept).reduce(|all, more| format!("{all}; {more}"))
    }
}

/// Where the end of a publication, or of an agent, is told.
pub(super) type Told = oneshot::Sender<Work>;

/// Those who wait to hear of an agent's work.
#[derive(Default)]
pub(super) struct Waiting {
    publication: HashMap<AgentId, Vec<Told>>,
    end: HashMap<AgentId, Told>,
}

impl Waiting {
    /// Waits for the next publication, or for the end of the agent.
    pub(super) fn add(&mut self, agent: AgentId, publication: bool, told: Told) {
        if publication {
            self.publication.entry(agent).or_default().push(told);
        } else {
            self.end.insert(agent, told);
        }
    }

    /// Tells those whom this news concerns; it is durable.
    pub(super) fn hear(&mut self, agent: AgentId, news: &News) {
        let mut work = Work::default();
        match news {
            News::Ended(cause) => {
                let why = news::words(cause).unwrap_or_else(|| "its program was ended".to_owned());
                work.branch = Branch::Failed(why);
            }
            news => work.hear(news),
        }
        if work.branch == Branch::Untouched {
            return;
        }
        for told in self.publication.remove(&agent).into_iter().flatten() {
            // Whoever asked may have gone away.
            let _ = told.send(work.clone());
        }
    }

    /// The agent is gone.
    pub(super) fn end(&mut self, agent: AgentId, work: Work) {
        self.publication.remove(&agent);
        if let Some(told) = self.end.remove(&agent) {
            let _ = told.send(work);
        }
    }
}
