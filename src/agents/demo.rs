//! The demo agent: shows the whole way of a task without an account. It speaks the Agent Client
//! Protocol on its standard streams, as other agent programs do, and knows nothing of the fleet.
//!
//! Words of a task that it understands: `ask` asks for permission before it writes its file, `slow`
//! goes on until it is canceled, `slow N` for N pieces of 200 ms, `stream N` says N pieces at once,
//! `fail` fails. It keeps its conversations in `.fleet-demo` in its home.

mod store;
mod turn;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use agent_client_protocol::{
    Agent, ByteStreams, Error,
    schema::ProtocolVersion,
    v1::schema::{
        self, AgentCapabilities, CancelNotification, Implementation, InitializeRequest,
        InitializeResponse, LoadSessionRequest, LoadSessionResponse, NewSessionRequest,
        NewSessionResponse, PromptRequest, ResumeSessionRequest, ResumeSessionResponse,
        SessionCapabilities, SessionConfigOption, SessionConfigOptionCategory,
        SessionConfigOptionValue, SessionConfigSelectOption, SessionId, SessionMode,
        SessionModeState, SessionResumeCapabilities, SetSessionConfigOptionRequest,
        SetSessionConfigOptionResponse, SetSessionModeRequest, SetSessionModeResponse,
    },
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::{
    compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _},
    sync::CancellationToken,
};

use self::store::Transcript;

/// Where it keeps its conversations, below its home.
const STORE: &str = ".fleet-demo";
/// The mode in which it asks; in the other one it decides by itself.
const ASKS: &str = "default";
const MODES: [(&str, &str); 2] = [(ASKS, "Manual"), ("auto", "Auto")];
const MODELS: [(&str, &str); 2] = [("demo-1", "Demo 1"), ("demo-2", "Demo 2")];

/// Runs the demo agent on the standard streams until its input ends.
///
/// # Errors
/// The runtime can't start, or the streams fail; in words.
pub fn main() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let served = runtime.block_on(serve(tokio::io::stdin(), tokio::io::stdout(), &home));
    // A thread may still wait for standard input.
    runtime.shutdown_background();
    served.map_err(|error| error.to_string())
}

/// Serves one client until `input` ends.
///
/// # Errors
/// The streams fail, or the client breaks the protocol.
async fn serve(
    input: impl AsyncRead + Send + 'static,
    output: impl AsyncWrite + Send + 'static,
    home: &Path,
) -> Result<(), Error> {
    let demo = Arc::new(Demo { store: home.join(STORE), sessions: Mutex::default() });
    let [new, load, resume, mode, option, prompt, cancel] =
        std::array::from_fn(|_| Arc::clone(&demo));
    Agent
        .v1()
        .name("demo-agent")
        .on_receive_request(
            async |_: InitializeRequest, responder, _| responder.respond(abilities()),
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |request: NewSessionRequest, responder, _| {
                responder.respond_with_result(new.new_session(request).await)
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |request: LoadSessionRequest, responder, connection| {
                let id = request.session_id.clone();
                let reopened =
                    load.reopen(request.session_id, request.cwd).await.and_then(|seen| {
                        turn::replay(&id, &seen, &connection)?;
                        Ok(LoadSessionResponse::new()
                            .modes(seen.modes())
                            .config_options(seen.options()))
                    });
                responder.respond_with_result(reopened)
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |request: ResumeSessionRequest, responder, _| {
                let reopened = resume.reopen(request.session_id, request.cwd).await;
                responder.respond_with_result(reopened.map(|seen| {
                    ResumeSessionResponse::new().modes(seen.modes()).config_options(seen.options())
                }))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |request: SetSessionModeRequest, responder, _| {
                responder.respond_with_result(mode.set_mode(&request))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |request: SetSessionConfigOptionRequest, responder, _| {
                responder.respond_with_result(option.set_option(&request))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |request: PromptRequest, responder, connection| {
                // Begun before anything else is heard: a cancel may be next.
                let begun = match turn::begin(&prompt, &request.session_id) {
                    Ok(begun) => begun,
                    Err(error) => return responder.respond_with_error(error),
                };
                // A turn asks and waits: not while it holds up the connection.
                let prompt = Arc::clone(&prompt);
                connection.clone().spawn(async move {
                    let ended = turn::run(&prompt, request, begun, &connection).await;
                    responder.respond_with_result(ended)
                })
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_notification(
            async move |request: CancelNotification, _| {
                cancel.cancel(&request.session_id);
                Ok(())
            },
            agent_client_protocol::on_receive_notification!(),
        )
        .connect_to(ByteStreams::new(output.compat_write(), input.compat()))
        .await
}

fn abilities() -> InitializeResponse {
    let resume = SessionCapabilities::new().resume(SessionResumeCapabilities::new());
    InitializeResponse::new(ProtocolVersion::V1)
        .agent_capabilities(
            AgentCapabilities::new().load_session(true).session_capabilities(resume),
        )
        .agent_info(Implementation::new("fleet-mcp-demo", env!("CARGO_PKG_VERSION")))
}

/// All sessions of the process.
struct Demo {
    store: PathBuf,
    sessions: Mutex<HashMap<SessionId, Session>>,
}

/// One session.
struct Session {
    transcript: Transcript,
    /// Ends the turn that runs.
    turn: Option<CancellationToken>,
}

impl Demo {
    async fn new_session(&self, request: NewSessionRequest) -> Result<NewSessionResponse, Error> {
        let id = format!("demo-{:016x}", rand::random::<u64>());
        let transcript = Transcript::new(request.cwd);
        store::save(&self.store, &id, &transcript).await?;
        let id = SessionId::from(id);
        let answer = NewSessionResponse::new(id.clone())
            .modes(transcript.modes())
            .config_options(transcript.options());
        self.sessions().insert(id, Session { transcript, turn: None });
        Ok(answer)
    }

    async fn reopen(&self, id: SessionId, cwd: PathBuf) -> Result<Transcript, Error> {
        let mut transcript = store::load(&self.store, &id.0).await?;
        transcript.cwd = cwd;
        let session = Session { transcript: transcript.clone(), turn: None };
        self.sessions().insert(id, session);
        Ok(transcript)
    }

    fn set_mode(&self, request: &SetSessionModeRequest) -> Result<SetSessionModeResponse, Error> {
        let mode = request.mode_id.to_string();
        known(&MODES, &mode)?;
        self.with(&request.session_id, |session| {
            session.transcript.mode = mode;
            SetSessionModeResponse::new()
        })
    }

    fn set_option(
        &self,
        request: &SetSessionConfigOptionRequest,
    ) -> Result<SetSessionConfigOptionResponse, Error> {
        let model = match &request.value {
            SessionConfigOptionValue::ValueId { value }
                if request.config_id.0.as_ref() == "model" =>
            {
                value.to_string()
            }
            _ => return Err(Error::invalid_params()),
        };
        known(&MODELS, &model)?;
        self.with(&request.session_id, |session| {
            session.transcript.model = model;
            SetSessionConfigOptionResponse::new(session.transcript.options())
        })
    }

    fn cancel(&self, id: &SessionId) {
        if let Some(turn) = self.sessions().get(id).and_then(|session| session.turn.as_ref()) {
            turn.cancel();
        }
    }

    /// Does something with a session.
    fn with<T>(&self, id: &SessionId, f: impl FnOnce(&mut Session) -> T) -> Result<T, Error> {
        let mut sessions = self.sessions();
        let session = sessions.get_mut(id).ok_or_else(|| unknown_session(id))?;
        Ok(f(session))
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown_session(id: &SessionId) -> Error {
    schema::Error::resource_not_found(Some(id.to_string())).into()
}

fn known(choices: &[(&str, &str)], id: &str) -> Result<(), Error> {
    let known = choices.iter().any(|(known, _)| *known == id);
    known.then_some(()).ok_or_else(Error::invalid_params)
}

impl Transcript {
    fn modes(&self) -> SessionModeState {
        let modes = MODES.map(|(id, name)| SessionMode::new(id, name));
        SessionModeState::new(self.mode.clone(), modes.to_vec())
    }

    fn options(&self) -> Vec<SessionConfigOption> {
        let models = MODELS.map(|(id, name)| SessionConfigSelectOption::new(id, name)).to_vec();
        let model = SessionConfigOption::select("model", "Model", self.model.clone(), models);
        vec![model.category(SessionConfigOptionCategory::Model)]
    }
}
