//! A fleet whose callers, disk, sessions and daemons take turns at random: what was answered holds,
//! whoever is killed when.
//!
//! The supervisor is the real one, and the only task that runs by itself; all around it happens in
//! turns.

mod disk;
mod hosts;

use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;
use tokio::task::{JoinHandle, yield_now};

use self::{disk::Disk, hosts::Hosts};
use super::*;

#[derive(Debug, Clone)]
enum Turn {
    /// Somebody wants something of one of two agents.
    Asks(usize, Want),
    /// The disk has the oldest commit, or refuses it.
    Commits,
    Refuses,
    /// The program of an agent says something, or ends its turn.
    Says(usize),
    Finishes(usize),
    /// The daemon's end of a session takes what there is.
    Steps(usize),
    /// So long that a refused commit is tried again.
    Waits,
    /// The daemon is killed, and the next one starts; the disk may have had what was on its way.
    Killed {
        committed: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum Want {
    Create,
    Start,
    Cancel,
    Delete,
}

fn any_turn() -> impl Strategy<Value = Turn> {
    let want = prop_oneof![
        3 => Just(Want::Create),
        4 => Just(Want::Start),
        1 => Just(Want::Cancel),
        1 => Just(Want::Delete),
    ];
    prop_oneof![
        4 => (0..2_usize, want).prop_map(|(whose, want)| Turn::Asks(whose, want)),
        8 => Just(Turn::Commits),
        1 => Just(Turn::Refuses),
        3 => (0..2_usize).prop_map(Turn::Says),
        2 => (0..2_usize).prop_map(Turn::Finishes),
        8 => (0..2_usize).prop_map(Turn::Steps),
        1 => Just(Turn::Waits),
        1 => any::<bool>().prop_map(|committed| Turn::Killed { committed }),
    ]
}

type Answer = Result<Arc<Member>, FleetError>;

struct World {
    disk: Arc<Disk>,
    hosts: Arc<Hosts>,
    supervisor: Supervisor,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    daemon: JoinHandle<()>,
    asked: Vec<JoinHandle<Answer>>,
    /// The tasks that somebody was told are begun.
    begun: BTreeSet<TaskId>,
}

const NAMES: [&str; 2] = ["papi", "sony"];

impl World {
    fn new() -> Self {
        let (disk, hosts) = (Arc::<Disk>::default(), Arc::<Hosts>::default());
        let (supervisor, snapshot, daemon) = start(&disk, &hosts);
        let (asked, begun) = (Vec::new(), BTreeSet::new());
        Self { disk, hosts, supervisor, snapshot, daemon, asked, begun }
    }

    async fn take(&mut self, turn: &Turn) {
        match turn {
            Turn::Asks(whose, want) => self.ask(NAMES[*whose], *want),
            Turn::Commits => self.disk.answers(true),
            Turn::Refuses => self.disk.answers(false),
            Turn::Says(whose) => self.hosts.says(NAMES[*whose]),
            Turn::Finishes(whose) => self.hosts.finishes(NAMES[*whose]),
            Turn::Steps(whose) => self.hosts.steps(NAMES[*whose], &self.disk),
            Turn::Waits => tokio::time::advance(STORE_PAUSE).await,
            Turn::Killed { committed } => self.kill(*committed).await,
        }
        rest().await;
        self.check().await;
    }

    fn ask(&mut self, name: &str, want: Want) {
        let (name, task): (AgentName, _) = (name.parse().unwrap(), "dig".to_owned());
        let wish = match want {
            Want::Create => {
                let (project, role) = ("scratch".to_owned(), "demo".to_owned());
                Wish::Create { name, project, role, task }
            }
            Want::Start => Wish::Start { name, task },
            Want::Cancel => Wish::Cancel { name, task: None },
            Want::Delete => Wish::Delete(name),
        };
        let supervisor = self.supervisor.clone();
        self.asked.push(tokio::spawn(async move { supervisor.ask(wish, Projects::All).await }));
    }

    async fn kill(&mut self, committed: bool) {
        self.daemon.abort();
        let _ = (&mut self.daemon).await;
        self.disk.is_left(committed);
        self.hosts.are_left();
        // Those who wait hear nothing that counts.
        self.asked.clear();
        (self.supervisor, self.snapshot, self.daemon) = start(&self.disk, &self.hosts);
    }

    /// What holds at any moment.
    async fn check(&mut self) {
        assert!(!self.daemon.is_finished(), "the supervisor has ended");
        for member in self.snapshot.borrow().agents.values() {
            assert!(self.disk.has_had(member), "published, but not durable: {member:?}");
        }
        let (over, waiting) = std::mem::take(&mut self.asked)
            .into_iter()
            .partition::<Vec<_>, _>(JoinHandle::is_finished);
        self.asked = waiting;
        for answer in over {
            if let Ok(member) = answer.await.unwrap() {
                assert!(self.disk.has_had(&member), "answered, but not durable: {member:?}");
                self.begun.extend(member.task.as_ref().map(|task| task.id));
            }
        }
    }

    /// Nothing more is asked, and everyone else goes on.
    async fn come_to_rest(&mut self) {
        for _ in 0..12 {
            for whose in 0..2 {
                for turn in [Turn::Steps(whose), Turn::Commits, Turn::Commits, Turn::Steps(whose)] {
                    self.take(&turn).await;
                }
                self.take(&Turn::Finishes(whose)).await;
            }
            self.take(&Turn::Waits).await;
        }
    }

    /// What holds then.
    fn check_rest(&self) {
        assert!(self.asked.is_empty(), "somebody waits for an answer for ever");
        for (agent, name) in self.disk.agents() {
            let status = self.disk.status(agent);
            assert_ne!(status, Status::Deleting, "{name} is being deleted for ever");
            let said = self.hosts.said(agent);
            assert_eq!(self.disk.log(agent), said, "each line of {name} once, and in order");
        }
        for id in &self.begun {
            let Some(task) = self.disk.newest(*id) else { continue };
            let ended = matches!(task.status, TaskStatus::Done | TaskStatus::Canceled);
            assert!(ended, "a task that was begun: {task:?}");
        }
        self.hosts.check_rest();
    }
}

/// All that can go on by itself goes on.
async fn rest() {
    for _ in 0..16 {
        yield_now().await;
    }
}

fn start(
    disk: &Arc<Disk>,
    hosts: &Arc<Hosts>,
) -> (Supervisor, watch::Receiver<Arc<Snapshot>>, JoinHandle<()>) {
    let (supervisor, mut revived) = Supervisor::revive(Parts {
        slots: None,
        store: Arc::clone(disk) as _,
        sessions: Arc::clone(hosts) as _,
        settings: watch::Sender::new(Arc::new(settings())).subscribe(),
        metrics: Arc::default(),
        clock: Arc::new(StillClock(AtomicI64::new(1000))),
    })
    .unwrap();
    let snapshot = revived.snapshot();
    revived.take_up();
    let daemon = tokio::spawn(async move {
        revived.begin().await;
        revived.work(CancellationToken::new()).await;
    });
    (supervisor, snapshot, daemon)
}

fn run(turns: &[Turn]) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true);
    runtime.build().unwrap().block_on(async {
        let mut world = World::new();
        for turn in turns {
            world.take(turn).await;
        }
        world.come_to_rest().await;
        world.check_rest();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_answered_is_durable_and_every_order_and_line_arrives_once_wherever_daemons_are_killed(
        turns in prop::collection::vec(any_turn(), 1..120)
    ) {
        run(&turns);
    }
}

/// An agent in the middle of a turn.
const WORKS: [Turn; 6] = [
    Turn::Asks(0, Want::Create),
    Turn::Commits,
    Turn::Steps(0),
    Turn::Commits,
    Turn::Steps(0),
    Turn::Commits,
];

#[test]
fn a_task_whose_program_was_not_ready_yet_begins_anew_after_two_kills() {
    let killed = |committed| Turn::Killed { committed };
    run(&[Turn::Asks(0, Want::Create), Turn::Commits, killed(false), killed(true)]);
}

#[test]
fn an_agent_whose_end_the_daemon_did_not_live_to_see_is_gone_after_the_next_start() {
    let delete = [Turn::Asks(0, Want::Delete), Turn::Commits, Turn::Steps(0)];
    run(&[&WORKS[..], &delete, &[Turn::Killed { committed: false }]].concat());
}

#[test]
fn an_agent_whose_removal_the_disk_refuses_is_gone_once_it_does_not() {
    let delete = [Turn::Asks(0, Want::Delete), Turn::Commits, Turn::Steps(0), Turn::Refuses];
    run(&[&WORKS[..], &delete].concat());
}
