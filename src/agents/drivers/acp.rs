//! Talks with a program that speaks the Agent Client Protocol, version 1.
//!
//! [`drive`] moves lines, orders and reports; what they mean is decided by `Conversation`, which
//! does no I/O. Nothing here waits for the program and for the fleet at the same time: what is to be
//! written and what is to be reported are two queues, so that a program that doesn't read and a
//! fleet that is busy don't hold each other up.

mod conversation;
mod opening;
mod permissions;
mod settings;
mod spending;
mod tools;
mod updates;
mod wire;
mod words;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use self::conversation::Conversation;
use super::told::{Told, writable};
use crate::{
    agents::io::{AgentIo, AgentLine},
    app::{
        clock::Clock,
        ports::sessions::{Order, Permissions, Report},
    },
    auth::Secret,
    fleet::AgentId,
};

/// How long a program may take from its start until it takes prompts. The slowest one known needs
/// 90 s for its handshake.
pub const OPENING_TIMEOUT: Duration = Duration::from_secs(180);

/// Lines for the program that may wait to be written before its own lines are no longer read: one
/// that asks and asks, and doesn't read the answers, holds up itself.
const UNWRITTEN: usize = 256;

/// What a session is opened with.
#[derive(Clone)]
pub struct Params {
    /// Whose session.
    pub agent: AgentId,
    /// The workspace, as the program sees it. Absolute.
    pub cwd: PathBuf,
    /// The program's own name for an earlier session, to be resumed.
    pub resume: Option<String>,
    /// What permission requests are answered with.
    pub permissions: Permissions,
    /// The mode to work in: its identity or its name, in the program's words.
    pub mode: Option<String>,
    /// The model to work with: its identity or its name, in the program's words.
    pub model: Option<String>,
    /// The fleet's own tools, if the program may have them.
    pub fleet: Option<FleetServer>,
    /// Tells when a question was asked.
    pub clock: Arc<dyn Clock>,
}

/// This daemon as an MCP server, for a program.
#[derive(Debug, Clone)]
pub struct FleetServer {
    /// Where it listens for MCP.
    pub url: String,
    /// The program's own token.
    pub secret: Secret,
}

/// Why a program never took prompts: a sentence for people, without its full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotOpened(pub String);

/// Opens a session with the program behind `io`, and serves it until the program's lines end or
/// nobody takes reports any longer.
///
/// It never reports [`Ended`]: how the program ended is its host's to tell. A turn that runs at
/// the end stays without [`TurnEnded`].
///
/// Once `orders` ends, or with [`Order::Close`], a running turn is canceled and the program's input
/// is closed; what it still says is reported until its lines end.
///
/// Not cancellation safe: what was read and not yet reported is lost.
///
/// [`Ended`]: crate::app::ports::sessions::News::Ended
/// [`TurnEnded`]: crate::app::ports::sessions::News::TurnEnded
///
/// # Errors
/// The session could not be opened. Its input is closed then; to end the program is left to the
/// caller.
pub async fn drive(
    io: AgentIo,
    params: Params,
    mut orders: mpsc::Receiver<Order>,
    reports: mpsc::Sender<Report>,
) -> Result<(), NotOpened> {
    let AgentIo { mut lines, input } = io;
    let mut input = Some(input);
    let clock = Arc::clone(&params.clock);
    let mut told = Told::new(params.agent);
    let mut conversation = Conversation::open(params, clock.now());
    let deadline = Instant::now() + OPENING_TIMEOUT;
    let mut heard_all = false;
    let mut closing = false;
    loop {
        if told.reports.is_empty() && (heard_all || conversation.failure().is_some()) {
            return conversation.failure().map_or(Ok(()), |why| Err(NotOpened(why.to_owned())));
        }
        if closing && conversation.unwritten.is_empty() {
            input = None;
        }
        tokio::select! {
            permit = reports.reserve(), if !told.reports.is_empty() => {
                let Ok(permit) = permit else { return Ok(()) };
                if let Some(report) = told.reports.pop_front() {
                    permit.send(report);
                }
            }
            permit = writable(input.as_ref()), if !conversation.unwritten.is_empty() => {
                match permit {
                    Some(permit) => {
                        if let Some(line) = conversation.unwritten.pop_front() {
                            permit.send(line);
                        }
                    }
                    // It closed its input; what it says is heard until it ends.
                    None => conversation.unwritten.clear(),
                }
            }
            order = orders.recv(), if !closing => match order {
                Some(Order::Close { .. }) | None => {
                    closing = true;
                    told.add(conversation.close(), None);
                }
                Some(order) => told.add(conversation.obey(order), None),
            },
            line = lines.recv(),
                if !heard_all
                    && told.reports.is_empty()
                    && conversation.unwritten.len() < UNWRITTEN =>
            {
                match line {
                    Some(AgentLine { stream, text, receipt }) => {
                        told.add(conversation.hear(stream, &text, clock.now()), Some(receipt));
                    }
                    None => {
                        heard_all = true;
                        told.add(conversation.end(), None);
                    }
                }
            }
            () = tokio::time::sleep_until(deadline), if conversation.is_opening() => {
                conversation.give_up(OPENING_TIMEOUT);
            }
        }
    }
}
