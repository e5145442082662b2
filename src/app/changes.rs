//! What changes in the fleet, for somebody who wants to hear of it: that it is different, not how.
//!
//! Nothing is queued. Who does not listen for a while hears once of all that happened meanwhile.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{App, Phase};
use crate::{
    auth::Projects,
    fleet::{AgentId, AgentName, Logs, Snapshot, snapshot::Member},
};

/// How often the fleet is looked at for one listener, however much happens.
const PAUSE: Duration = Duration::from_millis(500);

/// Something in the fleet that can be different from what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// Any agent, or which there are.
    Agents,
    /// One agent: also that it comes or goes.
    Agent(AgentName),
    /// An agent's log.
    Log(AgentName),
}

/// What is different.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Other agents are there than before.
    pub names: bool,
    /// The topics that are different, by their places in the list that was given.
    pub topics: Vec<usize>,
}

/// The fleet at one moment: changes count from here.
#[derive(Debug, Clone)]
pub struct Since {
    fleet: watch::Receiver<Arc<Snapshot>>,
    logs: watch::Receiver<Logs>,
    phase: watch::Receiver<Phase>,
    snapshot: Arc<Snapshot>,
    marks: Logs,
}

/// Hears of what somebody may see.
pub struct Listener {
    since: Since,
    projects: Projects,
    topics: Vec<Topic>,
    next_look: Instant,
}

impl App {
    /// Changes from now on.
    pub fn changes(&self) -> Since {
        let (mut fleet, mut logs) = (self.fleet.clone(), self.logs.clone());
        let snapshot = fleet.borrow_and_update().clone();
        let marks = logs.borrow_and_update().clone();
        Since { fleet, logs, phase: self.phase.subscribe(), snapshot, marks }
    }
}

impl Since {
    /// For somebody who may see these projects. What is outside them never changes.
    pub fn listen(self, projects: Projects, topics: Vec<Topic>) -> Listener {
        Listener { since: self, projects, topics, next_look: Instant::now() }
    }
}

impl Listener {
    /// Waits until something is different; `None` once the daemon stops.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Changes> {
        let mut phase = self.since.phase.clone();
        let stopping = phase.wait_for(|phase| *phase == Phase::Stopping);
        tokio::select! {
            biased;
            _ = stopping => None,
            changes = self.hear() => changes,
        }
    }

    async fn hear(&mut self) -> Option<Changes> {
        let hears_logs = self.topics.iter().any(|topic| matches!(topic, Topic::Log(_)));
        loop {
            sleep_until(self.next_look).await;
            let changed = tokio::select! {
                changed = self.since.fleet.changed() => changed,
                changed = self.since.logs.changed(), if hears_logs => changed,
            };
            // Whoever would tell us has ended: so does the daemon.
            changed.ok()?;
            self.next_look = Instant::now() + PAUSE;
            let changes = self.look();
            if changes != Changes::default() {
                return Some(changes);
            }
        }
    }

    fn look(&mut self) -> Changes {
        let snapshot = self.since.fleet.borrow_and_update().clone();
        let marks = self.since.logs.borrow_and_update().clone();
        let sees = |snapshot, marks| Sight { projects: &self.projects, snapshot, marks };
        let before = sees(&self.since.snapshot, &self.since.marks);
        let now = sees(&snapshot, &marks);
        let differs = |topic: &Topic| match topic {
            Topic::Agents => !before.equals(&now),
            Topic::Agent(name) => !same(before.member(name), now.member(name)),
            Topic::Log(name) => before.log(name) != now.log(name),
        };
        let changes = Changes {
            names: !before.names().eq(now.names()),
            topics: (0..self.topics.len()).filter(|&at| differs(&self.topics[at])).collect(),
        };
        (self.since.snapshot, self.since.marks) = (snapshot, marks);
        changes
    }
}

/// The fleet at one moment, as far as somebody may see it.
struct Sight<'a> {
    projects: &'a Projects,
    snapshot: &'a Snapshot,
    marks: &'a Logs,
}

impl<'a> Sight<'a> {
    fn members(&self) -> impl Iterator<Item = &'a Arc<Member>> {
        let projects = self.projects;
        self.snapshot.agents.values().filter(|member| projects.cover(&member.agent.project))
    }

    fn names(&self) -> impl Iterator<Item = &'a AgentName> {
        self.members().map(|member| &member.agent.name)
    }

    fn member(&self, name: &AgentName) -> Option<&'a Arc<Member>> {
        let found = self.snapshot.agents.get(name);
        found.filter(|member| self.projects.cover(&member.agent.project))
    }

    fn log(&self, name: &AgentName) -> Option<(AgentId, u64)> {
        let id = self.member(name)?.agent.id;
        Some((id, self.marks.of(id)))
    }

    fn equals(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.members(), other.members());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (one, other) if !same(one, other) => return false,
                _ => {}
            }
        }
    }
}

/// Most agents are the very same ones, which is quick to see.
fn same(one: Option<&Arc<Member>>, other: Option<&Arc<Member>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        (one, other) => one.is_none() && other.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use jiff::Timestamp;

    use super::*;
    use crate::fleet::{Agent, Status};

    struct Bench {
        fleet: watch::Sender<Arc<Snapshot>>,
        logs: watch::Sender<Logs>,
        phase: watch::Sender<Phase>,
    }

    impl Bench {
        fn new() -> Self {
            let (fleet, logs) = (watch::Sender::default(), watch::Sender::default());
            Self { fleet, logs, phase: watch::Sender::new(Phase::Ready) }
        }

        fn listen(&self, projects: Projects, topics: Vec<Topic>) -> Listener {
            let since = Since {
                fleet: self.fleet.subscribe(),
                logs: self.logs.subscribe(),
                phase: self.phase.subscribe(),
                snapshot: self.fleet.borrow().clone(),
                marks: self.logs.borrow().clone(),
            };
            since.listen(projects, topics)
        }

        fn put(&self, id: i64, name: &str, project: &str, status: Status) {
            let agent = Agent {
                name: name.parse().unwrap(),
                id: AgentId(id),
                status,
                role: "Coder".to_owned(),
                project: project.to_owned(),
                slot: None,
                last_task: None,
                created_at: Timestamp::UNIX_EPOCH,
                updated_at: Timestamp::UNIX_EPOCH,
            };
            self.fleet.send_modify(|fleet| {
                let member = Arc::new(Member { agent: agent.clone(), task: None });
                Arc::make_mut(fleet).agents.insert(agent.name, member);
            });
        }

        fn remove(&self, name: &str) {
            let name = name.parse().unwrap();
            self.fleet.send_modify(|fleet| drop(Arc::make_mut(fleet).agents.remove(&name)));
        }
    }

    fn topics() -> Vec<Topic> {
        let name: AgentName = "sony".parse().unwrap();
        vec![Topic::Agents, Topic::Agent(name.clone()), Topic::Log(name)]
    }

    fn changes(names: bool, topics: &[usize]) -> Option<Changes> {
        Some(Changes { names, topics: topics.to_vec() })
    }

    #[tokio::test(start_paused = true)]
    async fn each_topic_is_told_of_what_concerns_it() {
        let bench = Bench::new();
        let mut listener = bench.listen(Projects::All, topics());

        bench.put(1, "sony", "web", Status::Pending);
        assert_eq!(listener.next().await, changes(true, &[0, 1, 2]), "it comes");
        bench.put(1, "sony", "web", Status::Idle);
        assert_eq!(listener.next().await, changes(false, &[0, 1]), "it is different");
        bench.logs.send_modify(|logs| logs.grow(AgentId(1)));
        assert_eq!(listener.next().await, changes(false, &[2]), "it says something");
        bench.put(2, "sony", "web", Status::Idle);
        assert_eq!(listener.next().await, changes(false, &[0, 1, 2]), "another in its place");
        bench.remove("sony");
        assert_eq!(listener.next().await, changes(true, &[0, 1, 2]), "it goes");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_the_same_or_outside_the_projects_is_not_told() {
        let bench = Bench::new();
        bench.put(1, "sony", "web", Status::Idle);
        let elsewhere = Projects::Only(["api".into()].into());
        let mut all = bench.listen(Projects::All, topics());
        let mut outside = bench.listen(elsewhere, topics());

        bench.put(1, "sony", "web", Status::Idle);
        bench.logs.send_modify(|logs| logs.grow(AgentId(7)));
        let silence = tokio::time::timeout(Duration::from_secs(60), all.next()).await;
        bench.remove("sony");
        bench.logs.send_modify(|logs| logs.grow(AgentId(1)));
        let outside = tokio::time::timeout(Duration::from_secs(60), outside.next()).await;

        assert!(silence.is_err() && outside.is_err(), "{silence:?} {outside:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_listen_for_a_while_hears_once() {
        let bench = Bench::new();
        bench.put(1, "sony", "web", Status::Idle);
        let mut listener = bench.listen(Projects::All, topics());

        for _ in 0..10_000 {
            bench.logs.send_modify(|logs| logs.grow(AgentId(1)));
        }
        let first = listener.next().await;

        assert_eq!(first, changes(false, &[2]));
        assert_eq!(listener.next().now_or_never(), None, "nothing was queued");
    }

    #[tokio::test(start_paused = true)]
    async fn however_much_happens_the_fleet_is_looked_at_twice_a_second() {
        let bench = Bench::new();
        bench.put(1, "sony", "web", Status::Idle);
        let mut listener = bench.listen(Projects::All, topics());
        let (start, mut heard) = (Instant::now(), 0);

        while start.elapsed() < Duration::from_secs(10) {
            tokio::select! {
                told = listener.next() => heard += usize::from(told.is_some()),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            bench.logs.send_modify(|logs| logs.grow(AgentId(1)));
        }

        assert!((19..=21).contains(&heard), "{heard}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_stop_ends_the_wait_even_in_a_pause() {
        let bench = Bench::new();
        bench.put(1, "sony", "web", Status::Idle);
        let mut listener = bench.listen(Projects::All, topics());
        bench.put(1, "sony", "web", Status::Busy);
        listener.next().await;

        bench.put(1, "sony", "web", Status::Idle);
        bench.phase.send_replace(Phase::Stopping);

        assert_eq!(listener.next().now_or_never(), Some(None));
    }
}
