//! What the service manager is told while the daemon serves: how it is, and that it lives.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{
    app::App,
    control::{api, client::Client},
    http::server::Server,
    systemd::notify,
};

/// How often it is looked whether there is something new to tell.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// Keeps `STATUS=` current. Never returns.
pub(super) async fn tell_status(app: Arc<App>) {
    let mut ticks = interval(STATUS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = app.summary();
    loop {
        ticks.tick().await;
        let now = app.summary();
        if now != told {
            notify::status(&now);
            told = now;
        }
    }
}

/// What has to answer if the daemon is to count as alive.
pub(super) struct Vitals {
    pub(super) app: Arc<App>,
    pub(super) server: Arc<Server>,
    pub(super) control_socket: PathBuf,
}

impl Vitals {
    /// Gives signs of life, twice as often as the manager wants them, as long as everything answers.
    /// Never returns.
    pub(super) async fn show(self, within: Duration) {
        let mut ticks = interval(within / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ailing = None;
        loop {
            ticks.tick().await;
            // What takes longer can't be told in time.
            let checked = self.check(within / 4).await;
            if let Err(part) = checked
                && ailing != Some(part)
            {
                tracing::error!("no sign of life for the service manager: {part} does not answer");
            }
            ailing = checked.err();
            if ailing.is_none() {
                notify::alive();
            }
        }
    }

    /// # Errors
    /// What does not answer in time.
    async fn check(&self, patience: Duration) -> Result<(), &'static str> {
        // Not by a request to itself: under a flood that is honest work it would wait with all
        // others, and a restart would only make things worse.
        if !self.server.is_alive() {
            return Err("the data plane");
        }
        let control = Client::new(&self.control_socket);
        // Also the owners of tokens, refusals and settings have a say in it.
        let control = timeout(patience, control.get::<api::Status>(api::STATUS));
        let fleet = timeout(patience, self.app.fleet_answers());
        let (control, fleet) = tokio::join!(control, fleet);
        match (control, fleet) {
            (Ok(Ok(_)), Ok(())) => Ok(()),
            (Ok(Ok(_)), Err(_)) => Err("the fleet's supervisor"),
            _ => Err("the control plane"),
        }
    }
}
