//! What takes long and may block: preparing a workspace, publishing its branch, removing it. One
//! piece of work at a time, in a thread of its own.

use std::{io, thread};

use base64::Engine as _;
use tokio::sync::mpsc;

use super::{
    confine,
    frames::{FromHost, Job, Made, Workspace},
    workspace::{self, Ready},
};

/// Something to do.
pub(super) enum Work {
    Prepare(Workspace),
    Job { id: u64, job: Job },
}

/// What comes of it.
pub(super) enum Done {
    Part(FromHost),
    Ready(Ready, FromHost),
    Last(FromHost),
}

/// Starts to work. The last thing that comes is no [`Done::Part`].
pub(super) fn begin(work: Work) -> io::Result<mpsc::Receiver<Done>> {
    let (tell, told) = mpsc::channel(1);
    thread::Builder::new().name("work".to_owned()).stack_size(512 * 1024).spawn(move || {
        let last = match work {
            Work::Prepare(workspace) => prepare(&workspace),
            Work::Job { id, job } => Done::Last(job_done(id, &job, &tell)),
        };
        // Nobody listens any more when the host ends.
        let _ = tell.blocking_send(last);
    })?;
    Ok(told)
}

fn prepare(workspace: &Workspace) -> Done {
    match workspace::prepare(workspace) {
        Ok(ready) => {
            let confinement = if workspace.confine {
                confine::in_force()
            } else {
                "none (switched off)".to_owned()
            };
            let directory = ready.directory.clone();
            Done::Ready(ready, FromHost::Prepared { confinement, directory })
        }
        Err(error) => Done::Last(FromHost::Failed(error)),
    }
}

fn job_done(id: u64, job: &Job, tell: &mpsc::Sender<Done>) -> FromHost {
    let result = match job {
        Job::Remove(place) => workspace::remove_workspace(place).map(|()| Made::Removed),
        Job::Publish { place, confine, uncommitted } => {
            workspace::publish(place, *confine, *uncommitted, |part| {
                let data = base64::engine::general_purpose::STANDARD.encode(part);
                tell.blocking_send(Done::Part(FromHost::Part { id, data }))
                    .map_err(io::Error::other)
            })
        }
    };
    FromHost::JobDone { id, result }
}
