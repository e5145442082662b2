//! Talks with a program that speaks the Agent Client Protocol, version 1.
//!
//! [`drive`] moves lines, orders and steps; what they mean is decided by `Conversation`, which
//! does no I/O. What it knows beyond its orders and the role's settings can be saved, so that the
//! next daemon goes on in the middle of a turn.

mod conversation;
mod opening;
mod permissions;
mod saved;
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
use super::told::Told;
use crate::{
    agents::io::{AgentIo, Heard, Resumed, Say, What},
    app::{
        clock::Clock,
        ports::sessions::{Order, Permissions},
    },
    auth::Secret,
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

/// Opens a session with the program behind `io`, or goes on with one where a former daemon was, and
/// serves it until the program ends or nobody takes steps any longer.
///
/// It never reports [`Ended`]: how the program ended is its host's to tell. A turn that runs at
/// the end stays without [`TurnEnded`].
///
/// Once `orders` ends, or with [`Order::Close`], a running turn is canceled and the program's input
/// is closed; what it still says is reported until it ends.
///
/// Not cancellation safe: what was heard and not yet reported is lost.
///
/// [`Ended`]: crate::app::ports::sessions::News::Ended
/// [`TurnEnded`]: crate::app::ports::sessions::News::TurnEnded
///
/// # Errors
/// The session could not be opened. To end the program is left to the caller.
pub async fn drive(
    io: AgentIo,
    params: Params,
    from: Option<Resumed>,
    mut orders: mpsc::Receiver<Order>,
) -> Result<(), NotOpened> {
    let AgentIo { mut heard, steps } = io;
    let clock = Arc::clone(&params.clock);
    let (mut conversation, mut told) = match from {
        None => (Conversation::open(params, clock.now()), Told::default()),
        Some(Resumed { heard, obeyed, state }) => {
            (Conversation::resume(params, &state).map_err(NotOpened)?, Told::after(heard, obeyed))
        }
    };
    let deadline = Instant::now() + OPENING_TIMEOUT;
    let mut heard_all = false;
    let mut closing = Closing::No;
    loop {
        let due = told.is_due() || !conversation.unwritten.is_empty();
        if !due && (heard_all || conversation.failure().is_some()) {
            return conversation.failure().map_or(Ok(()), |why| Err(NotOpened(why.to_owned())));
        }
        tokio::select! {
            permit = steps.reserve(), if due => {
                let Ok(permit) = permit else { return Ok(()) };
                let mut says: Vec<Say> = conversation.unwritten.drain(..).map(Say::Line).collect();
                if closing == Closing::Due {
                    says.push(Say::CloseInput);
                    closing = Closing::Done;
                }
                permit.send(told.take(says, conversation.state()));
            }
            order = orders.recv(), if closing == Closing::No => match order {
                Some(Order::Close { .. }) | None => {
                    closing = Closing::Due;
                    told.add(conversation.close());
                }
                Some(order) => told.obey(conversation.obey(order)),
            },
            line = heard.recv(),
                if !heard_all
                    && !told.is_full()
                    && conversation.unwritten.len() < UNWRITTEN =>
            {
                match line {
                    Some(Heard { number, what: What::Line(stream, text) }) => {
                        told.hear(number, conversation.hear(stream, &text, clock.now()));
                    }
                    Some(Heard { number, what: What::Started }) => told.hear(number, None),
                    Some(Heard { number, what: What::Failed(why) }) => {
                        conversation.fail(why);
                        told.hear(number, None);
                    }
                    Some(Heard { number, what: What::Ended(_) }) => {
                        heard_all = true;
                        told.hear(number, conversation.end());
                    }
                    None => {
                        heard_all = true;
                        told.add(conversation.end());
                    }
                }
            }
            () = tokio::time::sleep_until(deadline), if conversation.is_opening() => {
                conversation.give_up(OPENING_TIMEOUT);
            }
        }
    }
}

/// Whether the program's input is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// With the next step.
    Due,
    Done,
}
