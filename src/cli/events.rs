//! `fleetctl events`

use std::time::Duration;

use jiff::{Span, Timestamp, Zoned, civil::DateTime, tz::TimeZone};

use super::{
    failure::Failure,
    output::{Output, safe},
    token::in_path,
};
use crate::{
    app::clock::{Clock as _, SystemClock},
    control::{
        api::{self, Event, EventList},
        client::{Client, ClientError},
    },
};

/// How long the daemon may make us wait for the next event.
const WAIT_SECS: u32 = 20;
/// How often a daemon that has gone away is looked for.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct EventArgs {
    /// Go on printing what happens, over restarts of the daemon too
    #[arg(long, short)]
    follow: bool,
    /// From when on: how long ago (`2h`, `7d`), or a time [default: the newest 1,000 events]
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Timestamp>,
    /// Only what has happened to this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Who has changed what, and what was refused, in place of what happens in the fleet
    #[arg(long)]
    audit: bool,
    /// Only what has happened to this token or was done with it; goes with --audit
    #[arg(long, value_name = "NAME", requires = "audit")]
    token: Option<String>,
}

pub(super) async fn show(
    client: &Client,
    output: &Output,
    wanted: EventArgs,
) -> Result<(), Failure> {
    let mut place = Place { after: None, connected: true };
    loop {
        let list = match client.get::<EventList>(&wanted.path(&place)).await {
            Ok(list) => list,
            Err(error) => {
                place.survive(error, output)?;
                tokio::time::sleep(RETRY_INTERVAL).await;
                continue;
            }
        };
        place.arrive(&list, output);
        for event in &list.events {
            print(output, event)?;
        }
        if !list.more && !wanted.follow {
            return Ok(());
        }
    }
}

/// How far we have come.
struct Place {
    /// `None` before the first answer.
    after: Option<i64>,
    connected: bool,
}

impl Place {
    /// A daemon that was there and is not is waited for; anything else is the end.
    fn survive(&mut self, error: ClientError, output: &Output) -> Result<(), Failure> {
        let gone = matches!(&error, ClientError::Unreachable { source, .. }
                if source.kind() != std::io::ErrorKind::PermissionDenied)
            || matches!(&error, ClientError::Broken(_) | ClientError::TimedOut(_));
        if self.after.is_none() || !gone {
            return Err(error.into());
        }
        if std::mem::replace(&mut self.connected, false) {
            output.note("The daemon has gone away; waiting for it to come back (Ctrl+C ends).");
        }
        Ok(())
    }

    fn arrive(&mut self, list: &EventList, output: &Output) {
        if !std::mem::replace(&mut self.connected, true) {
            output.note("The daemon is back.");
        }
        // Ids are never used again, so this is another store.
        if self.after.is_some_and(|after| list.last < after) {
            output
                .note("The daemon has other events than before: its state directory was replaced.");
        }
        self.after = Some(list.last);
    }
}

impl EventArgs {
    fn path(&self, place: &Place) -> String {
        let mut path = format!("{}?audit={}", api::EVENTS, self.audit);
        let mut add = |name: &str, value: Option<String>| {
            path.extend(value.map(|value| format!("&{name}={}", in_path(&value))));
        };
        add("agent", self.agent.clone());
        add("token", self.token.clone());
        match place.after {
            None => add("since", self.since.map(|since| since.to_string())),
            Some(after) => {
                add("after", Some(after.to_string()));
                let waits = self.follow && place.connected;
                add("wait", waits.then(|| WAIT_SECS.to_string()));
            }
        }
        path
    }
}

/// `2h`, `2026-11-25T10:00:00Z`, `2026-11-25 10:00`
fn parse_since(text: &str) -> Result<Timestamp, String> {
    since(text, &SystemClock.now().to_zoned(TimeZone::system()))
}

fn since(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    if let Ok(ago) = text.parse::<Span>() {
        let then = now.checked_sub(ago.abs()).map_err(|error| error.to_string())?;
        return Ok(then.timestamp());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let local = text.parse::<DateTime>().and_then(|time| now.time_zone().to_zoned(time));
    local.map(|time| time.timestamp()).map_err(|_| {
        "use how long ago (`90m`, `2h`, `7d`) or a time (`2026-11-25 10:00`, \
         `2026-11-25T10:00:00Z`)"
            .to_owned()
    })
}

fn print(output: &Output, event: &Event) -> Result<(), Failure> {
    if output.is_json() {
        let line = serde_json::to_string(event).map_err(|error| Failure::from_io(error.into()))?;
        return output.line(&line);
    }
    output.line(&safe(&line(event)))
}

fn line(event: &Event) -> String {
    let field = |name: &str| event.fields.get(name).map(String::as_str);
    if let (Some(agent), Some(status)) = (&event.agent, field("agent_status")) {
        let task = field("task_state").map(|task| format!(", task {task}")).unwrap_or_default();
        let detail = field("detail").map(|text| format!(": {text}")).unwrap_or_default();
        return format!("{} {agent} is {status}{task}{detail}", event.time);
    }
    let agent = event.agent.iter().map(|agent| format!(" agent={agent}"));
    let fields = event.fields.iter().map(|(name, value)| format!(" {name}={value}"));
    let rest: String = agent.chain(fields).collect();
    format!("{} {}: {}{rest}", event.time, event.event, event.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_so_long_ago_or_a_moment() {
        let now: Zoned = "2026-11-25T12:00:00+01:00[+01:00]".parse().unwrap();
        let since = |text| since(text, &now);
        for (text, expected) in [
            ("2h", "2026-11-25T09:00:00Z"),
            ("1h 30m", "2026-11-25T09:30:00Z"),
            ("7d", "2026-11-18T11:00:00Z"),
            ("2026-11-25T10:00:00Z", "2026-11-25T10:00:00Z"),
            ("2026-11-25 10:00", "2026-11-25T09:00:00Z"),
            ("2026-11-25", "2026-11-24T23:00:00Z"),
        ] {
            assert_eq!(since(text), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "soon", "10", "2026-13-01"] {
            assert!(since(text).is_err(), "{text}");
        }
    }
}
