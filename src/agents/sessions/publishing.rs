//! Publishing an agent's branch: while its program lives, when its session ends, or without one.

use std::{path::PathBuf, time::Duration};

use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use super::{Inner, orders::Orders, report};
use crate::{
    agents::{
        host::frames::{Job, Made},
        link::{Command, Event, Link},
        publish::{self, Bundle},
    },
    app::ports::sessions::{News, Report, Whose},
};

/// How long it may take. An agent can make git wait for ever.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// At most one publication of a session, from the job that the host has to do to its news.
pub(super) struct Publishing {
    projects: PathBuf,
    whose: Whose,
    step: Step,
    /// Somebody waits for the news, even if there are none.
    asked: bool,
}

enum Step {
    Idle,
    /// The host makes a bundle, which is received meanwhile.
    Bundling {
        bundle: JoinHandle<Result<Bundle, String>>,
        uncommitted: bool,
        until: Instant,
    },
    /// The bundle is fetched from.
    Fetching(JoinHandle<News>),
    /// It came to nothing.
    Failed(String),
}

impl Publishing {
    pub(super) fn new(inner: &Inner, whose: Whose) -> Self {
        Self { projects: inner.projects.clone(), whose, step: Step::Idle, asked: false }
    }

    pub(super) fn whose(&self) -> &Whose {
        &self.whose
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.step, Step::Idle)
    }

    /// Whether the host may be committing: then no turn is to begin.
    pub(super) fn commits(&self) -> bool {
        matches!(self.step, Step::Bundling { uncommitted: true, .. })
    }

    /// Begins, if there is an order to and nothing is being published.
    pub(super) async fn begin_if_due(&mut self, inner: &Inner, link: &Link, orders: &mut Orders) {
        if self.is_idle()
            && let Some(uncommitted) = orders.publish.take()
        {
            self.asked = true;
            self.begin(inner, link, uncommitted).await;
        }
    }

    async fn begin(&mut self, inner: &Inner, link: &Link, uncommitted: bool) {
        let (give, parts) = mpsc::channel(4);
        let (projects, agent) = (self.projects.clone(), self.whose.name.clone());
        let bundle =
            tokio::task::spawn_blocking(move || publish::receive(&projects, &agent, parts));
        let place = inner.place(&self.whose);
        let job = Job::Publish { place, confine: inner.confine, uncommitted };
        link.tell(Command::Job(job, Some(give))).await;
        self.step = Step::Bundling { bundle, uncommitted, until: Instant::now() + LIMIT };
    }

    /// The host is done with a job.
    pub(super) fn made(&mut self, made: Result<Made, String>) {
        let Step::Bundling { bundle, .. } = std::mem::replace(&mut self.step, Step::Idle) else {
            return;
        };
        let (projects, whose) = (self.projects.clone(), self.whose.clone());
        self.step = Step::Fetching(tokio::spawn(async move {
            // What went wrong at the host's end came first.
            let bundle = bundle.await.map_err(|error| error.to_string());
            let source = match made {
                Ok(Made::Bundle { source }) => source,
                Ok(Made::Nothing(why)) => return News::NothingToPublish(why),
                Ok(Made::Removed) => return News::NotPublished("the host is confused".to_owned()),
                Err(why) => return News::NotPublished(why),
            };
            // The record is the host's, and the host is the agent's neighbour: it only counts where
            // nobody else knows.
            let source = whose.repository.unwrap_or(source);
            let fetched = tokio::task::spawn_blocking(move || {
                let repository = publish::repository(&projects, &source);
                bundle??.fetch(&repository, &whose.name)
            });
            match fetched.await.map_err(|error| error.to_string()) {
                Ok(Ok(publication)) => News::Published(publication),
                Ok(Err(why)) | Err(why) => News::NotPublished(why),
            }
        }));
    }

    /// The host is gone.
    fn lost(&mut self, why: String) {
        if matches!(self.step, Step::Bundling { .. }) {
            self.step = Step::Failed(why);
        }
    }

    /// What came of it. Waits for ever while nothing is being published. Cancel-safe.
    pub(super) async fn news(&mut self) -> News {
        let news = match &mut self.step {
            Step::Idle => std::future::pending().await,
            Step::Bundling { until, .. } => {
                tokio::time::sleep_until(*until).await;
                News::NotPublished(format!("it took longer than {} s", LIMIT.as_secs()))
            }
            Step::Fetching(task) => task
                .await
                .unwrap_or_else(|error| News::NotPublished(format!("it was broken off: {error}"))),
            Step::Failed(why) => News::NotPublished(std::mem::take(why)),
        };
        self.step = Step::Idle;
        news
    }

    /// Publishes as the last thing that the session does. Answers why the workspace has to be kept, if
    /// it has to be.
    pub(super) async fn finish(
        &mut self,
        inner: &Inner,
        link: &mut Link,
        orders: &mut Orders,
        reports: &mpsc::Sender<Report>,
    ) -> Option<String> {
        self.settle(link, orders, reports).await;
        self.asked = orders.publish.take().is_some();
        self.begin(inner, link, true).await;
        self.settle(link, orders, reports).await
    }

    /// Waits for the end of what is being published, and reports it.
    pub(super) async fn settle(
        &mut self,
        link: &mut Link,
        orders: &mut Orders,
        reports: &mpsc::Sender<Report>,
    ) -> Option<String> {
        while !self.is_idle() {
            tokio::select! {
                news = self.news() => {
                    let failed = match &news {
                        News::NotPublished(why) => Some(why.clone()),
                        _ => None,
                    };
                    if self.asked || !matches!(news, News::NothingToPublish(_)) {
                        report(reports, self.whose.agent, news).await;
                    }
                    return failed;
                }
                // Once it is told, nothing more comes of a lost host.
                event = link.next(), if !matches!(self.step, Step::Fetching(_) | Step::Failed(_)) => {
                    match event {
                        Event::JobDone(made) => self.made(made),
                        Event::Lost(why) => self.lost(why),
                        _ => {}
                    }
                }
                () = orders.listen() => {}
            }
        }
        None
    }
}
