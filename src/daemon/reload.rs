//! Rereads configuration and certificates while the daemon serves: all or nothing.

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::sync::{Mutex, watch};
use tokio_rustls::rustls::ServerConfig;

use super::{descriptors, failure::chain};
use crate::{
    app::{
        App, audit,
        ports::{Reload, ReloadError, Reloaded},
        settings::{PrimarySource, Settings},
    },
    auth::Principal,
    config::{self, Loaded, Sources},
    http::tls,
    log,
    systemd::notify,
};

type Certificate = Option<Arc<ServerConfig>>;

pub(super) struct Reloader {
    app: Arc<App>,
    sources: Sources,
    log: Arc<log::Guard>,
    certificate: watch::Sender<Certificate>,
    /// One at a time.
    reloading: Mutex<()>,
}

impl Reloader {
    pub(super) fn new(
        app: Arc<App>,
        sources: Sources,
        log: Arc<log::Guard>,
        certificate: watch::Sender<Certificate>,
    ) -> Self {
        Self { app, sources, log, certificate, reloading: Mutex::new(()) }
    }

    async fn reload_now(&self) -> Result<Reloaded, ReloadError> {
        let _one_at_a_time = self.reloading.lock().await;
        notify::reloading();
        let outcome = self.take_over().await;
        match &outcome {
            Ok(reloaded) => tell(reloaded),
            Err(error) => audit::reload_refused(&error.problems),
        }
        notify::ready(&self.app.summary());
        outcome
    }

    async fn take_over(&self) -> Result<Reloaded, ReloadError> {
        let (sources, app) = (self.sources.clone(), Arc::clone(&self.app));
        let tokens = self.app.tokens.reread().await;
        let tokens =
            tokens.map_err(|error| problem(format!("{}; {}", chain(&error), error.help)))?;
        let read = tokio::task::spawn_blocking(move || read(&sources, &app)).await;
        let New { settings, certificate, warnings, needs_restart } =
            read.map_err(|panicked| problem(panicked.to_string()))??;
        let log = Arc::clone(&self.log);
        let for_log = settings.log.clone();
        tokio::task::spawn_blocking(move || log.reload(&for_log))
            .await
            .map_err(|panicked| problem(panicked.to_string()))?;
        tokens.take_over(&Principal::Daemon);
        if settings.auth.enabled && !self.app.enforces_auth() {
            self.app.enforce_auth();
            audit::authentication_enabled();
        }
        self.certificate.send_replace(certificate);
        self.app.set_warnings(warnings.clone());
        self.app.replace_settings(Arc::new(settings));
        Ok(Reloaded { needs_restart, warnings })
    }
}

impl Reload for Reloader {
    fn reload(
        self: Arc<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<Reloaded, ReloadError>> + Send>> {
        let reload = tokio::spawn(async move { self.reload_now().await });
        Box::pin(async { reload.await.map_err(|panicked| problem(panicked.to_string()))? })
    }
}

/// Everything that was read, and nothing of it in force yet.
struct New {
    settings: Settings,
    certificate: Certificate,
    warnings: Vec<String>,
    needs_restart: Vec<String>,
}

/// Reads everything. If authentication is to be turned on, the token is there before it is.
fn read(sources: &Sources, app: &App) -> Result<New, ReloadError> {
    let mut loaded = config::load(sources).map_err(|errors| ReloadError {
        problems: errors.problems.iter().map(ToString::to_string).collect(),
    })?;
    descriptors::fit(&mut loaded);
    let Loaded { settings: wanted, token, warnings, .. } = loaded;
    let present = app.settings();
    let mut needs_restart = config::needs_restart(&present, &wanted);
    let in_force = app.tokens.primary().map(|primary| primary.generation.digest);
    if token.is_some_and(|token| in_force.is_some_and(|digest| digest != token.digest())) {
        needs_restart.push("FLEET_MCP_AUTH_TOKEN");
    }
    let settings = with_fixed(wanted, &present);
    let certificate = settings.http.tls.as_ref().map(tls::load).transpose();
    let certificate = certificate.map_err(|error| problem(chain(&error)))?;
    if settings.auth.enabled && !app.enforces_auth() && app.tokens.primary().is_none() {
        let created = app.tokens.load_or_create();
        created.map_err(|error| problem(format!("{}; {}", chain(&error), error.help)))?;
        if settings.auth.primary == PrimarySource::File {
            tracing::info!("Token saved to: {}", settings.auth.token_file.display());
        }
    }
    let needs_restart = needs_restart.into_iter().map(str::to_owned).collect();
    Ok(New { settings, certificate, warnings, needs_restart })
}

/// What only a restart can change stays as it is.
fn with_fixed(mut wanted: Settings, present: &Settings) -> Settings {
    wanted.listen.clone_from(&present.listen);
    wanted.state_dir.clone_from(&present.state_dir);
    wanted.control_socket.clone_from(&present.control_socket);
    wanted.auth.token_file.clone_from(&present.auth.token_file);
    wanted.auth.primary.clone_from(&present.auth.primary);
    wanted.auth.enabled |= present.auth.enabled;
    wanted.fleet.slots.clone_from(&present.fleet.slots);
    wanted.log.journal_socket.clone_from(&present.log.journal_socket);
    if wanted.http.tls.is_some() != present.http.tls.is_some() {
        wanted.http.tls.clone_from(&present.http.tls);
    }
    wanted
}

fn problem(text: String) -> ReloadError {
    ReloadError { problems: vec![text] }
}

fn tell(reloaded: &Reloaded) {
    audit::configuration_reloaded(&reloaded.needs_restart);
    if !reloaded.needs_restart.is_empty() {
        tracing::warn!("changed, but only after a restart: {}", reloaded.needs_restart.join(", "));
    }
    for warning in &reloaded.warnings {
        tracing::warn!("{warning}");
    }
}
