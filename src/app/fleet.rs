//! Questions about the fleet, answered from the newest snapshot and the settings.

use std::sync::Arc;

use super::{App, error::FleetError};
use crate::fleet::{AgentName, Project, Role, Snapshot, Status, snapshot::Member};

/// Which agents to list.
#[derive(Debug, Clone, Default)]
pub struct AgentFilter {
    /// Only those with this status.
    pub status: Option<String>,
    /// Only those of this project, compared without regard to case.
    pub project: Option<String>,
}

impl App {
    /// The fleet as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.fleet.borrow().clone()
    }

    /// The agents that match, by name.
    ///
    /// # Errors
    /// When the filter names a status or a project that does not exist.
    pub fn list_agents(&self, filter: &AgentFilter) -> Result<Vec<Arc<Member>>, FleetError> {
        let status = filter.status.as_deref().map(parse_status).transpose()?;
        let project = filter.project.as_deref().map(|p| self.project(p)).transpose()?;
        let matches = |member: &&Arc<Member>| {
            let agent = &member.agent;
            status.is_none_or(|status| agent.status == status)
                && project.as_ref().is_none_or(|p| p.name.eq_ignore_ascii_case(&agent.project))
        };
        Ok(self.snapshot().agents.values().filter(matches).cloned().collect())
    }

    /// One agent.
    ///
    /// # Errors
    /// When the name is none, or no agent has it.
    pub fn show_agent(&self, name: &str) -> Result<Arc<Member>, FleetError> {
        let name: AgentName = name.parse().map_err(|e| FleetError::invalid(format!("{e}")))?;
        let snapshot = self.snapshot();
        snapshot.agents.get(&name).cloned().ok_or_else(|| {
            let names = snapshot.agents.keys().map(AgentName::as_str);
            FleetError::not_found("agent", name.as_str(), names)
        })
    }

    /// All projects, by name.
    pub fn list_projects(&self) -> Vec<Project> {
        self.settings().projects.clone()
    }

    /// The project of this name, in its own spelling, and the roles that it offers.
    ///
    /// # Errors
    /// When there is no such project.
    pub fn list_roles(&self, project: &str) -> Result<(Project, Vec<Role>), FleetError> {
        let project = self.project(project)?;
        let settings = self.settings();
        let roles = settings.roles.iter().filter(|role| role.offered_by(&project.name));
        let roles = roles.cloned().collect();
        Ok((project, roles))
    }

    fn project(&self, name: &str) -> Result<Project, FleetError> {
        let settings = self.settings();
        let found = settings.projects.iter().find(|p| p.name.eq_ignore_ascii_case(name)).cloned();
        found.ok_or_else(|| {
            let names = settings.projects.iter().map(|project| &*project.name);
            FleetError::not_found("project", name, names)
        })
    }
}

fn parse_status(text: &str) -> Result<Status, FleetError> {
    text.parse().map_err(|unknown| FleetError::invalid(format!("status_filter: {unknown}")))
}
