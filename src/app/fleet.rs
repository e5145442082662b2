//! The fleet's use cases: questions are answered from the newest snapshot, the settings and the
//! store; wishes go to the supervisor.

mod tasks;

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{
    App, Phase,
    error::FleetError,
    ports::{
        StoreError,
        fleet_store::{Page, Paged},
    },
    supervisor::{Branch, Wish, Work},
};
use crate::{
    auth::{Principal, Projects},
    fleet::{
        AgentName, LogEntry, Project, Publication, Role, Snapshot, Status, Task, TaskId,
        snapshot::Member,
    },
};

/// Most bytes of a task's description.
pub const MAX_TASK_BYTES: usize = 64 * 1024;
/// Most entries of a page.
pub const MAX_PAGE_SIZE: u32 = 100;
/// The longest wait, in seconds.
pub const MAX_WAIT_SECS: u32 = 600;

/// How long a call waits for the end of what it has set in motion: many clients give up after 60 s.
const MAX_KEPT_WAITING: Duration = Duration::from_secs(45);

/// Which agents to list.
#[derive(Debug, Clone, Default)]
pub struct AgentFilter {
    /// Only those with this status.
    pub status: Option<String>,
    /// Only those of this project, compared without regard to case.
    pub project: Option<String>,
}

/// The fleet as one principal may see it. What it may not see does not exist for it: neither in lists
/// nor in errors.
#[derive(Clone, Copy)]
pub struct Fleet<'a> {
    app: &'a App,
    projects: &'a Projects,
}

impl App {
    /// Returns once the fleet's owner has answered; never, if it hangs.
    pub async fn fleet_answers(&self) {
        self.supervisor.ping().await;
    }

    /// The fleet as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.fleet.borrow().clone()
    }

    /// The fleet for a principal.
    pub fn fleet_for<'a>(&'a self, principal: &'a Principal) -> Fleet<'a> {
        Fleet { app: self, projects: principal.projects() }
    }
}

impl Fleet<'_> {
    /// The agents that match, by name: a page of them, or all.
    ///
    /// # Errors
    /// When the filter names a status or a project that does not exist, or the page is outside its
    /// limits.
    pub fn list_agents(
        &self,
        filter: &AgentFilter,
        page: Option<Page>,
    ) -> Result<Paged<Arc<Member>>, FleetError> {
        let status = filter.status.as_deref().map(parse_status).transpose()?;
        let project = filter.project.as_deref().map(|p| self.project(p)).transpose()?;
        page.map(check_page).transpose()?;
        let matches = |member: &&Arc<Member>| {
            let agent = &member.agent;
            self.projects.cover(&agent.project)
                && status.is_none_or(|status| agent.status == status)
                && project.as_ref().is_none_or(|p| p.name.eq_ignore_ascii_case(&agent.project))
        };
        let snapshot = self.app.snapshot();
        let mut found = snapshot.agents.values().filter(matches);
        let (before, size) = page.map_or((0, usize::MAX), |page| {
            let size = page.size as usize;
            ((page.number as usize - 1).saturating_mul(size), size)
        });
        let skipped = found.by_ref().take(before).count();
        let items: Vec<_> = found.by_ref().take(size).cloned().collect();
        // Of a large fleet that is not filtered, only the page is looked at.
        let all = *self.projects == Projects::All && status.is_none() && project.is_none();
        let total = match all {
            true => snapshot.agents.len(),
            false => skipped + items.len() + found.count(),
        };
        Ok(Paged { items, total: total as u64 })
    }

    /// One agent.
    ///
    /// # Errors
    /// When the name is none, or no agent has it.
    pub fn show_agent(&self, name: &str) -> Result<Arc<Member>, FleetError> {
        let name = parse_name(name)?;
        let snapshot = self.app.snapshot();
        snapshot.agents.get(&name).filter(|member| self.sees(member)).cloned().ok_or_else(|| {
            let seen = snapshot.agents.values().filter(|member| self.sees(member));
            let names = seen.map(|member| member.agent.name.as_str());
            FleetError::not_found("agent", name.as_str(), names)
        })
    }

    /// All projects, by name.
    pub fn list_projects(&self) -> Vec<Project> {
        let settings = self.app.settings();
        settings.projects.iter().filter(|project| self.sees_project(project)).cloned().collect()
    }

    /// The project of this name, in its own spelling, and the roles that it offers.
    ///
    /// # Errors
    /// When there is no such project.
    pub fn list_roles(&self, project: &str) -> Result<(Project, Vec<Role>), FleetError> {
        let project = self.project(project)?;
        let settings = self.app.settings();
        let roles = settings.roles.iter().filter(|role| role.offered_by(&project.name));
        let roles = roles.cloned().collect();
        Ok((project, roles))
    }

    /// A new agent that begins with this task. Without a role, the project's default one is taken.
    ///
    /// # Errors
    /// When a name is taken, unknown or malformed, or the fleet is full.
    pub async fn create_agent(
        &self,
        name: &str,
        project: &str,
        role: Option<&str>,
        task: &str,
    ) -> Result<Arc<Member>, FleetError> {
        let name = parse_name(name)?;
        let (project, roles) = self.list_roles(project)?;
        let role = choose_role(&project, &roles, role)?;
        let wish = Wish::Create {
            name,
            project: project.name,
            role: role.name.clone(),
            task: parse_task(task)?,
        };
        self.ask(wish).await
    }

    /// Gives an agent a task.
    ///
    /// # Errors
    /// When there is no such agent, or it is not idle.
    pub async fn start_task(&self, name: &str, task: &str) -> Result<Arc<Member>, FleetError> {
        let wish = Wish::Start { name: parse_name(name)?, task: parse_task(task)? };
        self.ask(wish).await
    }

    /// Stops an agent's task; only this one, if one is named.
    ///
    /// # Errors
    /// When there is no such agent, or it has no task or another one.
    pub async fn cancel_task(
        &self,
        name: &str,
        task: Option<TaskId>,
    ) -> Result<Arc<Member>, FleetError> {
        self.ask(Wish::Cancel { name: parse_name(name)?, task }).await
    }

    /// Answers an agent's question; the present one, if none is named.
    ///
    /// # Errors
    /// When there is no such agent, question or choice.
    pub async fn answer(
        &self,
        name: &str,
        question: Option<String>,
        choice: String,
    ) -> Result<Arc<Member>, FleetError> {
        self.ask(Wish::Answer { name: parse_name(name)?, question, choice }).await
    }

    /// Ends an agent's program and starts it anew.
    ///
    /// # Errors
    /// When there is no such agent.
    pub async fn restart_agent(&self, name: &str) -> Result<Arc<Member>, FleetError> {
        self.ask(Wish::Restart(parse_name(name)?)).await
    }

    /// Publishes an agent's work: all of it, or what is committed while a task runs. Answers the agent
    /// as it was asked, and where its work is.
    ///
    /// # Errors
    /// When there is no such agent or no branch, it is not the moment for it, or it takes too long.
    pub async fn publish_agent(
        &self,
        name: &str,
    ) -> Result<(Arc<Member>, Publication), FleetError> {
        let wish = Wish::Publish(parse_name(name)?);
        let (member, end) = self.app.supervisor.ask_and_hear(wish, self.projects.clone()).await?;
        let name = &member.agent.name;
        let Some(work) = self.heard(end).await else {
            return Err(FleetError::unavailable(format!(
                "publishing the work of agent `{name}` takes longer and goes on; its log will say where \
                 it is (show_agent_log)"
            )));
        };
        match work.branch {
            Branch::Published(publication) => Ok((member, publication)),
            Branch::Nothing(why) => {
                Err(FleetError::conflict(format!("agent `{name}` has nothing to publish: {why}")))
            }
            Branch::Failed(why) => Err(FleetError::unavailable(format!(
                "the work of agent `{name}` could not be published: {why}; it is in the agent's workspace"
            ))),
            Branch::Untouched => Err(stopping()),
        }
    }

    /// Ends an agent's program and removes everything that is the agent's. Answers what has become of
    /// its work; nothing if that takes too long.
    ///
    /// # Errors
    /// When there is no such agent.
    pub async fn delete_agent(
        &self,
        name: &str,
    ) -> Result<(Arc<Member>, Option<Work>), FleetError> {
        let wish = Wish::Delete(parse_name(name)?);
        let (member, end) = self.app.supervisor.ask_and_hear(wish, self.projects.clone()).await?;
        let work = self.heard(end).await;
        Ok((member, work))
    }

    /// Waits for the end of something that was set in motion, as long as callers can be kept waiting.
    async fn heard(&self, end: oneshot::Receiver<Work>) -> Option<Work> {
        let mut phase = self.app.phase.subscribe();
        tokio::select! {
            work = end => work.ok(),
            () = tokio::time::sleep(MAX_KEPT_WAITING) => None,
            _ = phase.wait_for(|phase| *phase == Phase::Stopping) => None,
        }
    }

    /// A page of an agent's tasks, newest first.
    ///
    /// # Errors
    /// When there is no such agent, or the page is outside its limits.
    pub async fn history(&self, name: &str, page: Page) -> Result<Paged<Task>, FleetError> {
        let member = self.show_agent(name)?;
        check_page(page)?;
        self.app.store.history(member.agent.id, page).await.map_err(|error| unreadable(&error))
    }

    /// A page of an agent's log, newest first.
    ///
    /// # Errors
    /// When there is no such agent, or the page is outside its limits.
    pub async fn log(&self, name: &str, page: Page) -> Result<Paged<LogEntry>, FleetError> {
        let member = self.show_agent(name)?;
        check_page(page)?;
        self.app.store.log(member.agent.id, page).await.map_err(|error| unreadable(&error))
    }

    /// The entries of an agent's log after this one, oldest first, a bounded number at a time.
    ///
    /// # Errors
    /// When there is no such agent, or the store can't be read.
    pub async fn log_after(&self, name: &str, after: i64) -> Result<Vec<LogEntry>, FleetError> {
        const AT_ONCE: usize = 1000;
        let agent = self.show_agent(name)?.agent.id;
        let entries = self.app.store.log_after(agent, after, AT_ONCE).await;
        entries.map_err(|error| unreadable(&error))
    }

    /// Waits until an agent's task has ended or needs a person, or the time is over, or the daemon
    /// stops. Each change meanwhile is told to `progress`.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// When there is no such agent, or it is deleted meanwhile.
    pub async fn wait_for(
        &self,
        name: &str,
        timeout: Duration,
        mut progress: impl FnMut(&Member),
    ) -> Result<Arc<Member>, FleetError> {
        let mut fleet = self.app.fleet.clone();
        let mut phase = self.app.phase.subscribe();
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        let mut told: Option<Arc<Member>> = None;
        loop {
            fleet.mark_unchanged();
            let member = self.show_agent(name)?;
            if !is_underway(&member) {
                return Ok(member);
            }
            if told.as_ref() != Some(&member) {
                progress(&member);
                told = Some(Arc::clone(&member));
            }
            tokio::select! {
                () = &mut deadline => return Ok(member),
                changed = fleet.changed() => changed.map_err(|_| stopping())?,
                stopped = phase.wait_for(|phase| *phase == Phase::Stopping) => {
                    return stopped.map(|_| member).map_err(|_| stopping());
                }
            }
        }
    }

    async fn ask(&self, wish: Wish) -> Result<Arc<Member>, FleetError> {
        self.app.supervisor.ask(wish, self.projects.clone()).await
    }

    fn sees(&self, member: &Member) -> bool {
        self.projects.cover(&member.agent.project)
    }

    fn sees_project(&self, project: &Project) -> bool {
        self.projects.cover(&project.name)
    }

    fn project(&self, name: &str) -> Result<Project, FleetError> {
        let settings = self.app.settings();
        let mut seen = settings.projects.iter().filter(|project| self.sees_project(project));
        let found = seen.clone().find(|p| p.name.eq_ignore_ascii_case(name)).cloned();
        found.ok_or_else(|| {
            FleetError::not_found("project", name, seen.by_ref().map(|project| &*project.name))
        })
    }
}

/// Whether something is going on that can be waited for.
pub fn is_underway(member: &Member) -> bool {
    use Status::{Busy, Canceling, Deleting, Pending, Starting, Stopping};
    let needs_person = member.task.as_ref().is_some_and(|task| task.question.is_some());
    let status = member.agent.status;
    !needs_person && matches!(status, Busy | Canceling | Deleting | Pending | Starting | Stopping)
}

fn choose_role<'a>(
    project: &Project,
    roles: &'a [Role],
    wanted: Option<&str>,
) -> Result<&'a Role, FleetError> {
    let names = || roles.iter().map(|role| &*role.name);
    match (wanted, roles) {
        (Some(wanted), _) => roles
            .iter()
            .find(|role| role.name.eq_ignore_ascii_case(wanted))
            .ok_or_else(|| FleetError::not_found("role", wanted, names())),
        (None, [only]) => Ok(only),
        (None, _) => roles.iter().find(|role| role.default).ok_or_else(|| {
            FleetError::invalid(format!(
                "project `{}` has no default role; choose one of: {}",
                project.name,
                names().collect::<Vec<_>>().join(", ")
            ))
        }),
    }
}

fn parse_name(text: &str) -> Result<AgentName, FleetError> {
    text.parse().map_err(|error| FleetError::invalid(format!("{error}")))
}

fn parse_status(text: &str) -> Result<Status, FleetError> {
    text.parse().map_err(|unknown| FleetError::invalid(format!("status_filter: {unknown}")))
}

fn parse_task(text: &str) -> Result<String, FleetError> {
    if text.trim().is_empty() {
        return Err(FleetError::invalid("the task description is empty; say what is to be done"));
    }
    if text.len() > MAX_TASK_BYTES {
        return Err(FleetError::invalid(format!(
            "the task description has {} bytes; at most {MAX_TASK_BYTES} are allowed",
            text.len()
        )));
    }
    Ok(text.to_owned())
}

fn check_page(page: Page) -> Result<(), FleetError> {
    if page.number == 0 {
        return Err(FleetError::invalid("page: pages are numbered from 1"));
    }
    if !(1..=MAX_PAGE_SIZE).contains(&page.size) {
        return Err(FleetError::invalid(format!("page_size: use 1 to {MAX_PAGE_SIZE}")));
    }
    Ok(())
}

pub(super) fn unreadable(error: &StoreError) -> FleetError {
    tracing::error!(error = error as &dyn std::error::Error, "{}; {}", error.what, error.help);
    FleetError::unavailable("the fleet's store can't be read; the daemon's log has the cause")
}

fn stopping() -> FleetError {
    FleetError::unavailable("the daemon is stopping")
}
