//! The job that a host does: its parts, until somebody takes them, and what came of it.

use std::collections::VecDeque;

use base64::Engine as _;
use tokio::sync::mpsc;

use crate::agents::host::frames::{Job, Made, ToHost};

type Result = std::result::Result<Made, String>;

/// At most one job at a time.
pub(super) struct Jobs {
    /// The newest. Those of former daemons have other numbers.
    id: u64,
    job: Option<Running>,
}

struct Running {
    to: Option<mpsc::Sender<Vec<u8>>>,
    waiting: VecDeque<(u64, Vec<u8>)>,
    done: Option<(u64, Result)>,
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self { id: u64::from(rand::random::<u32>()) << 20, job: None }
    }

    /// Begins a job; its parts go there.
    pub(super) fn begin(&mut self, job: Job, to: Option<mpsc::Sender<Vec<u8>>>) -> ToHost {
        self.id += 1;
        self.job = Some(Running { to, waiting: VecDeque::new(), done: None });
        ToHost::Job { id: self.id, job }
    }

    /// Takes a part. Whether it is kept: it comes from a process that the agent may have taken over.
    pub(super) fn part(&mut self, number: u64, id: u64, data: &str) -> bool {
        let part = base64::engine::general_purpose::STANDARD.decode(data);
        match (&mut self.job, part) {
            (Some(job), Ok(part)) if id == self.id && job.to.is_some() => {
                job.waiting.push_back((number, part));
                true
            }
            _ => false,
        }
    }

    /// Takes the end of the job. Whether it is kept.
    pub(super) fn done(&mut self, number: u64, id: u64, result: Result) -> bool {
        match &mut self.job {
            Some(job) if id == self.id => {
                job.done = Some((number, result));
                true
            }
            _ => false,
        }
    }

    /// What came of the job, once all parts are taken.
    pub(super) fn finished(&mut self) -> Option<(u64, Result)> {
        let job = self.job.as_mut().filter(|job| job.waiting.is_empty())?;
        let done = job.done.take()?;
        self.job = None;
        Some(done)
    }

    /// Hands on a part: its number. Never ready without one. Cancel-safe.
    pub(super) async fn hand_on(&mut self) -> u64 {
        let Some(Running { to: Some(to), waiting, .. }) = &mut self.job else {
            return std::future::pending().await;
        };
        if waiting.is_empty() {
            return std::future::pending().await;
        }
        let permit = to.reserve().await;
        let Some((number, part)) = waiting.pop_front() else {
            return std::future::pending().await;
        };
        // Who no longer wants it has said so.
        if let Ok(permit) = permit {
            permit.send(part);
        }
        number
    }
}
