//! From the program's start until it takes prompts.

use std::path::PathBuf;

use agent_client_protocol::{
    schema::ProtocolVersion,
    v1::schema::{
        AGENT_METHOD_NAMES, ClientCapabilities, Error, ErrorCode, HttpHeader, Implementation,
        InitializeRequest, InitializeResponse, LoadSessionRequest, LoadSessionResponse, McpServer,
        McpServerHttp, NewSessionRequest, NewSessionResponse, ResumeSessionRequest,
        ResumeSessionResponse, SessionConfigOption, SessionId, SessionModeId, SessionModeState,
        SetSessionConfigOptionRequest, SetSessionConfigOptionResponse, SetSessionModeRequest,
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    FleetServer, Params,
    conversation::{Conversation, Sent, notice},
    settings::{Change, Settings},
    spending::Spending,
    words::{self, clip},
};
use crate::app::ports::sessions::{News, Permissions};

/// Ways to log in that are remembered.
const MOST_LOGINS: usize = 8;
/// Longer identities are no identities.
const SESSION_ID_BYTES: usize = 1024;
/// The mode in which an agent asks before it acts, by the name that agents have for it.
const ASKING_MODE: &str = "default";

/// What is still to be chosen, in this order: another model can bring other modes.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) cwd: PathBuf,
    resume: Option<String>,
    model: Option<String>,
    mode: Option<Mode>,
    fleet: Option<FleetServer>,
}

/// What mode it is to work in.
#[derive(Debug)]
enum Mode {
    /// The role's.
    Named(String),
    /// One in which it asks, if it has one. Some agents start in a mode in which they decide by
    /// themselves what they may do; without a word of the role that is not theirs to decide.
    Asking,
}

impl Wishes {
    pub(super) fn new(params: Params) -> Self {
        let asks = params.permissions != Permissions::Allow;
        Self {
            cwd: params.cwd,
            resume: params.resume,
            model: params.model,
            fleet: params.fleet,
            mode: params.mode.map(Mode::Named).or_else(|| asks.then_some(Mode::Asking)),
        }
    }
}

/// An answer to one of the opening's requests.
type Answer = Result<Value, Error>;

impl Conversation {
    pub(super) fn initialize(&mut self) {
        let request = InitializeRequest::new(ProtocolVersion::V1)
            .client_capabilities(ClientCapabilities::new())
            .client_info(Implementation::new("fleet-mcp", env!("CARGO_PKG_VERSION")));
        self.request(Sent::Initialize, AGENT_METHOD_NAMES.initialize, &request);
    }

    pub(super) fn initialized(&mut self, answer: Answer) {
        let answer: InitializeResponse = match self.expect("initialize", answer) {
            Some(answer) => answer,
            None => return,
        };
        if answer.protocol_version != ProtocolVersion::V1 {
            return self.fail(format!(
                "the agent speaks version {} of the Agent Client Protocol, not 1",
                answer.protocol_version
            ));
        }
        let logins = answer.auth_methods.iter().take(MOST_LOGINS);
        self.logins = logins.map(|login| clip(login.name(), 80)).collect();
        let can_resume = answer.agent_capabilities.session_capabilities.resume.is_some();
        let can_load = answer.agent_capabilities.load_session;
        self.can_reopen = can_resume || can_load;
        if self.wishes.fleet.is_some() && !answer.agent_capabilities.mcp_capabilities.http {
            self.wishes.fleet = None;
            let text = "The agent takes no MCP server over HTTP: it has none of the fleet's tools.";
            self.tell(News::Said(notice(text.to_owned())));
        }
        let cwd = self.wishes.cwd.clone();
        match self.wishes.resume.clone() {
            None => self.new_session(),
            Some(session) if can_resume => {
                self.spending.resume();
                let request =
                    ResumeSessionRequest::new(session.clone(), cwd).mcp_servers(self.servers());
                self.request(Sent::Resume(session), AGENT_METHOD_NAMES.session_resume, &request);
            }
            Some(session) if can_load => {
                self.replays = true;
                self.spending.resume();
                let request =
                    LoadSessionRequest::new(session.clone(), cwd).mcp_servers(self.servers());
                self.request(Sent::Load(session), AGENT_METHOD_NAMES.session_load, &request);
            }
            Some(_) => self.start_over("it can't resume one"),
        }
    }

    fn new_session(&mut self) {
        self.spending = Spending::new();
        let request = NewSessionRequest::new(self.wishes.cwd.clone()).mcp_servers(self.servers());
        self.request(Sent::New, AGENT_METHOD_NAMES.session_new, &request);
    }

    /// The MCP servers of the session: none but ours.
    fn servers(&self) -> Vec<McpServer> {
        let server = |fleet: &FleetServer| {
            let bearer = format!("Bearer {}", fleet.secret.expose());
            let header = HttpHeader::new("Authorization", bearer);
            McpServer::Http(McpServerHttp::new("fleet", fleet.url.clone()).headers(vec![header]))
        };
        self.wishes.fleet.iter().map(server).collect()
    }

    fn start_over(&mut self, why: &str) {
        let why = why.trim_end_matches('.');
        let text =
            format!("The agent begins a new conversation; the earlier one is not resumed: {why}.");
        self.tell(News::Said(notice(text)));
        self.new_session();
    }

    pub(super) fn session_made(&mut self, answer: Answer) {
        let Some(NewSessionResponse { session_id, modes, config_options, .. }) =
            self.expect("session/new", answer)
        else {
            return;
        };
        self.opened_as(session_id, modes, config_options);
    }

    pub(super) fn session_resumed(&mut self, session: String, answer: Answer) {
        if let Some(answer) = self.reopened::<ResumeSessionResponse>(answer) {
            self.opened_as(session.into(), answer.modes, answer.config_options);
        }
    }

    pub(super) fn session_loaded(&mut self, session: String, answer: Answer) {
        self.replays = false;
        if let Some(answer) = self.reopened::<LoadSessionResponse>(answer) {
            self.opened_as(session.into(), answer.modes, answer.config_options);
        }
    }

    /// The answer, if the session was reopened; otherwise the opening goes on without it.
    fn reopened<T: DeserializeOwned>(&mut self, answer: Answer) -> Option<T> {
        let answer = match answer {
            Err(error) if error.code != ErrorCode::AuthRequired => {
                let why = words::failure(&error, &self.logins);
                self.start_over(&why);
                return None;
            }
            // Agents that have nothing to say answer `null`.
            Ok(Value::Null) => Ok(Value::Object(serde_json::Map::new())),
            answer => answer,
        };
        self.expect("the request to resume", answer)
    }

    fn opened_as(
        &mut self,
        session: SessionId,
        modes: Option<SessionModeState>,
        options: Option<Vec<SessionConfigOption>>,
    ) {
        if session.0.len() > SESSION_ID_BYTES {
            return self.fail("the agent's name for its session is too long".to_owned());
        }
        self.session = Some(session);
        self.settings = Settings::new(modes, options);
        self.adjust();
    }

    /// Sends the next change that is wanted; once there is none, the program takes prompts.
    fn adjust(&mut self) {
        let Some(session) = self.session.clone() else { return };
        if let Some(model) = self.wishes.model.take() {
            match self.settings.model(&model) {
                Err(why) => return self.fail(why),
                Ok(Some(change)) => return self.change(session, change),
                Ok(None) => {}
            }
        }
        let mode = match self.wishes.mode.take() {
            Some(Mode::Named(mode)) => self.settings.mode(&mode),
            Some(Mode::Asking) => Ok(self.settings.mode(ASKING_MODE).unwrap_or_default()),
            None => Ok(None),
        };
        match mode {
            Err(why) => return self.fail(why),
            Ok(Some(change)) => return self.change(session, change),
            Ok(None) => {}
        }
        self.opening = false;
        let session = self.can_reopen.then(|| session.to_string());
        self.tell(News::Opened { session });
    }

    fn change(&mut self, session: SessionId, change: Change) {
        match change {
            Change::Mode(mode) => {
                let request = SetSessionModeRequest::new(session, mode.clone());
                let method = AGENT_METHOD_NAMES.session_set_mode;
                self.request(Sent::SetMode(mode), method, &request);
            }
            Change::Option(option, value) => {
                let request = SetSessionConfigOptionRequest::new(session, option, value);
                let method = AGENT_METHOD_NAMES.session_set_config_option;
                self.request(Sent::SetOption, method, &request);
            }
        }
    }

    pub(super) fn mode_set(&mut self, mode: SessionModeId, answer: Answer) {
        if self.expect::<Value>("session/set_mode", answer).is_some() {
            self.settings.set_mode(mode);
            self.adjust();
        }
    }

    pub(super) fn option_set(&mut self, answer: Answer) {
        let answer =
            self.expect::<SetSessionConfigOptionResponse>("session/set_config_option", answer);
        if let Some(answer) = answer {
            self.settings.set_options(answer.config_options);
            self.adjust();
        }
    }

    /// The answer as what it should be; otherwise the session doesn't open.
    fn expect<T: DeserializeOwned>(&mut self, what: &str, answer: Answer) -> Option<T> {
        match answer.map(serde_json::from_value) {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                let error = clip(&error.to_string(), 300);
                self.fail(format!("the agent's answer to {what} can't be understood: {error}"));
                None
            }
            Err(error) => {
                let words = words::failure(&error, &self.logins);
                let known = error.code == ErrorCode::AuthRequired;
                self.fail(if known { words } else { format!("the agent refuses {what}: {words}") });
                None
            }
        }
    }
}
