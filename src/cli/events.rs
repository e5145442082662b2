//! `fleetctl events`

use std::time::Duration;

use super::{
    failure::Failure,
    output::{Output, safe},
};
use crate::control::{
    api::{self, Event, EventList},
    client::Client,
};

/// How often followed events are looked for.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(300);

pub(super) async fn show(client: &Client, output: &Output, follow: bool) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let list: EventList = client.get(&format!("{}?after={after}", api::EVENTS)).await?;
        for event in &list.events {
            after = event.id;
            print(output, event)?;
        }
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
}

fn print(output: &Output, event: &Event) -> Result<(), Failure> {
    if output.is_json() {
        let line = serde_json::to_string(event).map_err(|error| Failure::from_io(error.into()))?;
        return output.line(&line);
    }
    let task = event.task.as_ref().map(|task| format!(", task {task}")).unwrap_or_default();
    let message = event.message.as_deref().and_then(|text| text.lines().next());
    let message = message.map(|text| format!(": {}", safe(text))).unwrap_or_default();
    output.line(&format!("{} {} is {}{task}{message}", event.time, event.agent, event.status))
}
