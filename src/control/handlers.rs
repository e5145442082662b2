//! What each request to the control socket does: a use case, and its answer on the wire.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    api,
    router::{Control, Failure},
};
use crate::{
    app::{
        Phase,
        error::FleetError,
        events::MAX_EVENTS,
        metrics::Format,
        ports::{
            FileState,
            event_store::{self, Recorded},
        },
        settings::PrimarySource,
        status::{SlotCount, Status},
    },
    auth::Principal,
    fleet::LogEntry,
    tools::{self, Call},
};

/// Most secrets of tokens in the status; the list of tokens has all.
const MAX_TOKENS: usize = 1000;

pub(super) async fn status(State(control): State<Arc<Control>>) -> Json<api::Status> {
    Json(control.app.status().await.into())
}

pub(super) async fn examine(State(control): State<Arc<Control>>) -> Json<api::Examination> {
    let report = Arc::clone(&control.doctor).examine().await;
    let findings = report.findings.into_iter().map(Into::into).collect();
    Json(api::Examination { good: report.good, findings })
}

pub(super) async fn metrics(State(control): State<Arc<Control>>) -> Response {
    let format = Format::Prometheus;
    let headers = [(header::CONTENT_TYPE, format.content_type())];
    (headers, control.app.metrics_text(format)).into_response()
}

pub(super) async fn reload(
    State(control): State<Arc<Control>>,
) -> Result<Json<api::Reloaded>, Failure> {
    let reloaded = Arc::clone(&control.reload).reload().await.map_err(|error| {
        Failure::new(StatusCode::CONFLICT, "CONFLICT", "nothing was reloaded")
            .because(error.problems)
            .help(
                "mend the configuration (fleet-mcp check-config tells all problems), reload again",
            )
    })?;
    Ok(Json(api::Reloaded { needs_restart: reloaded.needs_restart, warnings: reloaded.warnings }))
}

pub(super) async fn tool(
    State(control): State<Arc<Control>>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    Json(arguments): Json<Map<String, Value>>,
) -> Result<Json<Value>, Failure> {
    let tool = tools::find(&name, &principal)?;
    let call = Call { app: Arc::clone(&control.app), principal, origin: None, progress: None };
    Ok(Json(tool.call(call, arguments).await?))
}

pub(super) async fn events(
    State(control): State<Arc<Control>>,
    Query(query): Query<api::EventQuery>,
) -> Result<Json<api::EventList>, Failure> {
    let wait = Duration::from_secs(query.wait.unwrap_or(0).into());
    let since = query.since.as_deref().map(str::parse::<Timestamp>).transpose();
    let since = since.map_err(|error| FleetError::invalid(format!("since: {error}")))?;
    let wanted = event_store::Query {
        audit: query.audit,
        after: query.after,
        since,
        agent: query.agent,
        token: query.token,
        limit: query.limit.unwrap_or(MAX_EVENTS),
    };
    let found = control.app.find_events(wanted, wait).await?;
    let event = |Recorded { id, event }: Recorded| api::Event {
        id,
        time: event.time.to_string(),
        trail: event.trail.as_str().to_owned(),
        event: event.event,
        agent: event.agent,
        token: event.token,
        message: event.message,
        fields: event.fields.into_iter().collect(),
    };
    let events = found.events.into_iter().map(event).collect();
    Ok(Json(api::EventList { events, last: found.last, more: found.more }))
}

#[derive(Deserialize)]
pub(super) struct After {
    /// Entries up to this one are known.
    after: i64,
}

pub(super) async fn log_tail(
    State(control): State<Arc<Control>>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    Query(After { after }): Query<After>,
) -> Result<Json<api::LogTail>, Failure> {
    let entries = control.app.fleet_for(&principal).log_after(&name, after).await?;
    let line = |entry: LogEntry| api::LogLine {
        id: entry.id,
        time: entry.time.to_string(),
        kind: entry.kind.as_str().to_owned(),
        content: entry.content,
    };
    Ok(Json(api::LogTail { entries: entries.into_iter().map(line).collect() }))
}

impl From<FleetError> for Failure {
    fn from(error: FleetError) -> Self {
        let status = StatusCode::from_u16(error.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, error.code.as_str(), error.message)
    }
}

impl From<Status> for api::Status {
    fn from(status: Status) -> Self {
        let scheme = if status.tls { "https" } else { "http" };
        Self {
            state: match status.phase {
                Phase::Starting => "starting",
                Phase::Ready => "ready",
                Phase::Stopping => "stopping",
            }
            .to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: status.started_at.to_string(),
            uptime_seconds: u64::try_from(status.uptime.as_secs()).unwrap_or(0),
            listeners: status.listeners.iter().map(|at| format!("{scheme}://{at}")).collect(),
            public_url: status.public_url,
            auth: api::Auth {
                enforced: status.auth_enforced,
                token_file: status.token_file.display().to_string(),
                primary_from: match &status.primary {
                    PrimarySource::File => None,
                    elsewhere => Some(elsewhere.to_string()),
                },
                token_file_state: status.token_file_state.as_ref().map(|s| word(s).to_owned()),
            },
            tokens: status.tokens.into_iter().take(MAX_TOKENS).map(Into::into).collect(),
            isolation: status.isolation,
            slots: status.slots.map(|SlotCount { total, free }| api::Slots { total, free }),
            agents: counts(status.agents.iter().map(|(s, n)| (s.as_str(), *n as u64))),
            refused: counts(
                (status.unauthorized.iter().map(|(refusal, n)| (refusal.reason(), *n)))
                    .chain([("forbidden", status.forbidden)]),
            ),
            not_ready: (status.unready.into_iter())
                .map(|(source, unready)| api::NotReady {
                    source: source.to_string(),
                    requests: unready.requests,
                    reason: unready.reason.reason().to_owned(),
                    last_seen: format!("{:.0}", unready.last_seen),
                })
                .collect(),
            warnings: status.warnings,
        }
    }
}

fn counts<'a>(of: impl Iterator<Item = (&'a str, u64)>) -> Vec<api::Count> {
    of.map(|(name, count)| api::Count { name: name.to_owned(), count }).collect()
}

fn word(state: &FileState) -> &'static str {
    match state {
        FileState::Current => "current",
        FileState::Missing => "missing",
        FileState::Differs => "differs",
        FileState::Unusable(_) => "unusable",
    }
}
