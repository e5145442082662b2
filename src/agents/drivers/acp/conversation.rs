//! The protocol as a state machine: lines and orders in, lines and news out. No I/O, no clock.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use agent_client_protocol::v1::schema::{
    AGENT_METHOD_NAMES, CLIENT_METHOD_NAMES, CancelNotification, CancelRequestNotification,
    ContentBlock, CreateElicitationResponse, ElicitationAction, Error, ErrorCode, PromptRequest,
    PromptResponse, RequestId, RequestPermissionRequest, SessionId, SessionModeId,
    SessionNotification, SessionUpdate,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{
    Params,
    opening::Wishes,
    permissions::{self, Decision, Questions, Unanswered},
    settings::Settings,
    spending::Spending,
    updates::Narrator,
    wire::{self, Heard},
    words::{self, clip},
};
use crate::{
    agents::{drivers::noise::Noise, io::Stream},
    app::ports::sessions::{News, Order, Outcome, Permissions},
    fleet::{Entry, EntryKind},
};

/// Longer identities of requests are refused.
const REQUEST_ID_BYTES: usize = 1024;
/// A notification of both sides. The crate has no public name for it.
const CANCEL_REQUEST: &str = "$/cancel_request";

/// One program's session.
#[derive(Debug)]
pub(super) struct Conversation {
    /// Lines for the program, in order.
    pub(super) unwritten: VecDeque<String>,
    pub(super) opening: bool,
    pub(super) wishes: Wishes,
    pub(super) settings: Settings,
    pub(super) session: Option<SessionId>,
    /// How it can be logged in.
    pub(super) logins: Vec<String>,
    /// It can take up a session that it had before.
    pub(super) can_reopen: bool,
    /// What it tells now is the past, which is in the log already.
    pub(super) replays: bool,
    pub(super) permissions: Permissions,
    pub(super) failure: Option<String>,
    pub(super) closing: bool,
    pub(super) news: Vec<News>,
    pub(super) last_id: i64,
    pub(super) sent: BTreeMap<i64, Sent>,
    pub(super) turn: Option<Turn>,
    pub(super) questions: Questions,
    pub(super) narrator: Narrator,
    pub(super) spending: Spending,
    pub(super) noise: Noise,
}

/// What a request of ours was about.
#[derive(Debug)]
pub(super) enum Sent {
    Initialize,
    New,
    Resume(String),
    Load(String),
    SetMode(SessionModeId),
    SetOption,
    Prompt,
}

#[derive(Debug)]
pub(super) struct Turn {
    pub(super) canceled: bool,
}

impl Conversation {
    /// Begins to open a session.
    pub(super) fn open(params: Params, now: Timestamp) -> Self {
        let mut new = Self::idle(params, now);
        new.initialize();
        new
    }

    /// One that nothing was said in yet.
    pub(super) fn idle(params: Params, now: Timestamp) -> Self {
        Self {
            unwritten: VecDeque::new(),
            opening: true,
            settings: Settings::default(),
            session: None,
            logins: Vec::new(),
            can_reopen: false,
            replays: false,
            permissions: params.permissions,
            failure: None,
            closing: false,
            news: Vec::new(),
            last_id: 0,
            sent: BTreeMap::new(),
            turn: None,
            questions: Questions::new(now),
            narrator: Narrator::new(params.cwd.clone()),
            spending: Spending::new(),
            noise: Noise::default(),
            wishes: Wishes::new(params),
        }
    }

    /// Whether it doesn't take prompts yet, but may.
    pub(super) fn is_opening(&self) -> bool {
        self.opening && self.failure.is_none() && !self.closing
    }

    /// Why it never takes prompts.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Hears one of the program's lines: what came of it.
    pub(super) fn hear(&mut self, stream: Stream, line: &str, now: Timestamp) -> Vec<News> {
        match stream {
            Stream::Err => self.noise(line, now),
            Stream::Out if line.trim().is_empty() => {}
            Stream::Out => match wire::read(line) {
                Heard::Request { id, method, params } => self.asked(id, &method, params, now),
                Heard::Notification { method, params } => self.told(&method, params, now),
                Heard::Response { id, result } => self.answered(id, result, now),
                Heard::Stray(text) => self.noise(&format!("outside the protocol: {text}"), now),
            },
        }
        std::mem::take(&mut self.news)
    }

    /// Does what is ordered, as far as it makes sense now.
    pub(super) fn obey(&mut self, order: Order) -> Vec<News> {
        match order {
            Order::Prompt { text } => self.prompt(text),
            Order::Cancel => self.cancel(),
            Order::Answer { question, choice } => self.answer(&question, &choice),
            Order::Close { .. } => return self.close(),
            // The session's, not ours.
            Order::Publish { .. } => {}
        }
        std::mem::take(&mut self.news)
    }

    /// Ends what runs; there will be no further orders.
    pub(super) fn close(&mut self) -> Vec<News> {
        self.closing = true;
        self.cancel();
        std::mem::take(&mut self.news)
    }

    /// The program's lines have ended.
    pub(super) fn end(&mut self) -> Vec<News> {
        if self.is_opening() {
            let mut why = "the agent's program ended before it took prompts".to_owned();
            if let Some(words) = self.noise.last_words() {
                why = format!("{why}; it said: {words}");
            }
            self.fail(why);
        }
        let rest = self.narrator.end_turn(self.turn.as_ref().map(|_| "broken off"));
        self.say(rest);
        self.news.extend(self.noise.end().map(News::Said));
        std::mem::take(&mut self.news)
    }

    /// The program took too long to open.
    pub(super) fn give_up(&mut self, after: Duration) {
        let step = match self.sent.values().next() {
            Some(Sent::Initialize) | None => "initialize",
            Some(Sent::New) => "session/new",
            Some(Sent::Resume(_) | Sent::Load(_)) => "the request to resume",
            Some(Sent::SetMode(_) | Sent::SetOption | Sent::Prompt) => "its settings",
        };
        self.fail(format!("the agent did not answer {step} within {} s", after.as_secs()));
    }

    pub(super) fn tell(&mut self, news: News) {
        self.news.push(news);
    }

    pub(super) fn fail(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }

    pub(super) fn request(&mut self, sent: Sent, method: &str, params: &impl Serialize) {
        self.last_id += 1;
        self.sent.insert(self.last_id, sent);
        self.unwritten.push_back(wire::request(self.last_id, method, params));
    }

    fn prompt(&mut self, text: String) {
        let ready = !self.opening && self.turn.is_none();
        let Some(session) = self.session.clone().filter(|_| ready) else {
            tracing::error!("internal error: a prompt for an agent that takes none was ignored");
            return;
        };
        self.turn = Some(Turn { canceled: false });
        self.spending.begin_turn();
        let prompt = PromptRequest::new(session, vec![ContentBlock::from(text)]);
        self.request(Sent::Prompt, AGENT_METHOD_NAMES.session_prompt, &prompt);
    }

    fn cancel(&mut self) {
        let Some(session) = self.session.clone() else { return };
        let Some(turn) = &mut self.turn else { return };
        turn.canceled = true;
        let cancel = CancelNotification::new(session);
        let line = wire::notification(AGENT_METHOD_NAMES.session_cancel, &cancel);
        self.unwritten.push_back(line);
        self.withdraw_questions();
    }

    fn answer(&mut self, question: &str, choice: &str) {
        match self.questions.answer(question, choice) {
            Ok(request) => {
                self.unwritten.push_back(wire::response(&request, &permissions::chosen(choice)));
            }
            // The agent may just have taken it back.
            Err(Unanswered::NotOpen) => tracing::debug!(question, "answer to a closed question"),
            Err(Unanswered::NoSuchChoice) => {
                tracing::error!(question, "internal error: an answer that the question lacks");
            }
        }
    }

    fn withdraw_questions(&mut self) {
        for (question, request) in self.questions.withdraw_all() {
            self.unwritten.push_back(wire::response(&request, &permissions::canceled()));
            self.news.push(News::Withdrawn { question });
        }
    }

    fn asked(&mut self, id: RequestId, method: &str, params: Value, now: Timestamp) {
        // It would have to be stored until the answer, and isn't what any program does.
        if matches!(&id, RequestId::Str(id) if id.len() > REQUEST_ID_BYTES) {
            let error = Error::new(ErrorCode::InvalidRequest.into(), "the id is too long");
            return self.unwritten.push_back(wire::refusal(&id, &error));
        }
        if method == CLIENT_METHOD_NAMES.session_request_permission {
            match serde_json::from_value(params) {
                Ok(request) => self.permission(id, request, now),
                Err(error) => {
                    let text = clip(&error.to_string(), 300);
                    self.noise(&format!("a permission request without sense: {text}"), now);
                    let error = Error::new(ErrorCode::InvalidParams.into(), text);
                    self.unwritten.push_back(wire::refusal(&id, &error));
                }
            }
        } else if method == CLIENT_METHOD_NAMES.elicitation_create {
            let decline = CreateElicitationResponse::new(ElicitationAction::Decline);
            self.unwritten.push_back(wire::response(&id, &decline));
        } else {
            tracing::debug!(method = clip(method, 100), "request that nobody serves");
            let refusal = wire::refusal(&id, &Error::method_not_found());
            self.unwritten.push_back(refusal);
        }
    }

    fn permission(&mut self, id: RequestId, request: RequestPermissionRequest, now: Timestamp) {
        let choices = permissions::choices(request.options);
        let (before, text) = self.narrator.question(request.tool_call);
        self.say(before);
        let decision = match &self.turn {
            None => Decision::Cancel("no task runs"),
            Some(turn) if turn.canceled => Decision::Cancel("the task is being canceled"),
            Some(_) => permissions::decide(self.permissions, &choices),
        };
        let answer = match decision {
            Decision::Ask => {
                let question = self.questions.ask(id.clone(), text.clone(), choices, now);
                if let Some(question) = question {
                    self.news.push(News::Asked(question));
                    return;
                }
                self.automatic(&text, "canceled: too many questions are open");
                permissions::canceled()
            }
            Decision::Choose(choice) => {
                self.automatic(&text, &format!("`{}`, as its role says", choice.name));
                permissions::chosen(&choice.id)
            }
            Decision::Cancel(why) => {
                self.automatic(&text, &format!("canceled: {why}"));
                permissions::canceled()
            }
        };
        self.unwritten.push_back(wire::response(&id, &answer));
    }

    /// An answer that nobody gave is in the log with its question.
    fn automatic(&mut self, text: &str, answer: &str) {
        let content = format!("{text}\nAnswered {answer}.");
        self.news.push(News::Said(Entry { kind: EntryKind::Question, content, joins: false }));
    }

    fn told(&mut self, method: &str, params: Value, now: Timestamp) {
        if method == CLIENT_METHOD_NAMES.session_update {
            match serde_json::from_value::<SessionNotification>(params) {
                Ok(told) => self.update(told),
                // A kind of update that is newer than this program, or a damaged one.
                Err(error) => tracing::debug!(%error, "update that can't be understood"),
            }
        } else if method == CANCEL_REQUEST {
            let Ok(told) = serde_json::from_value::<CancelRequestNotification>(params) else {
                return self.noise("outside the protocol: it cancels nothing", now);
            };
            if let Some(question) = self.questions.withdraw(&told.request_id) {
                let error = Error::new(ErrorCode::RequestCancelled.into(), "canceled as asked");
                self.unwritten.push_back(wire::refusal(&told.request_id, &error));
                self.news.push(News::Withdrawn { question });
            }
        } else {
            tracing::debug!(method = clip(method, 100), "notification that nobody knows");
        }
    }

    fn update(&mut self, told: SessionNotification) {
        let ours = self.session.as_ref().is_none_or(|session| *session == told.session_id);
        if !ours {
            return;
        }
        match &told.update {
            SessionUpdate::UsageUpdate(usage) => {
                let news = self.spending.update(usage).filter(|_| self.turn.is_some());
                self.news.extend(news.map(News::Spent));
            }
            SessionUpdate::CurrentModeUpdate(update) => {
                let mode = update.current_mode_id.clone();
                self.watch_mode(|settings| settings.set_mode(mode));
            }
            SessionUpdate::ConfigOptionUpdate(update) => {
                let options = update.config_options.clone();
                self.watch_mode(|settings| settings.set_options(options));
            }
            _ if self.replays => {}
            _ => {
                let entries = self.narrator.tell(told.update);
                self.say(entries);
            }
        }
    }

    /// An agent that changes its mode by itself may ask for less than it did.
    fn watch_mode(&mut self, change: impl FnOnce(&mut Settings)) {
        let before = self.settings.current_mode();
        change(&mut self.settings);
        let now = self.settings.current_mode();
        if let (false, true, Some(mode)) = (self.opening, before != now, now) {
            let text = format!("The agent is now in mode `{}`.", clip(&mode, 100));
            self.news.push(News::Said(notice(text)));
        }
    }

    fn answered(&mut self, id: i64, answer: Result<Value, Error>, now: Timestamp) {
        match self.sent.remove(&id) {
            Some(Sent::Initialize) => self.initialized(answer),
            Some(Sent::New) => self.session_made(answer),
            Some(Sent::Resume(session)) => self.session_resumed(session, answer),
            Some(Sent::Load(session)) => self.session_loaded(session, answer),
            Some(Sent::SetMode(mode)) => self.mode_set(mode, answer),
            Some(Sent::SetOption) => self.option_set(answer),
            Some(Sent::Prompt) => self.turn_ended(answer),
            None => self.noise(&format!("outside the protocol: an answer to request {id}"), now),
        }
    }

    fn turn_ended(&mut self, answer: Result<Value, Error>) {
        let Some(turn) = self.turn.take() else { return };
        let mut spent = None;
        let outcome = match answer.map(serde_json::from_value::<PromptResponse>) {
            Ok(Ok(response)) => {
                if let Some(tokens) = &response.usage {
                    spent = Some(self.spending.end_turn(tokens));
                }
                words::outcome(response.stop_reason)
            }
            // Some answer a canceled turn with an error.
            Err(_) if turn.canceled => Outcome::Canceled,
            Err(error) => Outcome::Failed(words::failure(&error, &self.logins)),
            Ok(Err(error)) => {
                let error = clip(&error.to_string(), 300);
                Outcome::Failed(format!("the agent ended its turn without sense: {error}"))
            }
        };
        let rest = self.narrator.end_turn(match &outcome {
            Outcome::Done => None,
            Outcome::Canceled => Some("canceled"),
            Outcome::Failed(_) => Some("broken off"),
        });
        self.say(rest);
        self.withdraw_questions();
        self.news.extend(spent.map(News::Spent));
        self.news.push(News::TurnEnded(outcome));
    }

    fn say(&mut self, entries: Vec<Entry>) {
        self.news.extend(entries.into_iter().map(News::Said));
    }

    fn noise(&mut self, line: &str, now: Timestamp) {
        self.news.extend(self.noise.hear(line, now).map(News::Said));
    }
}

pub(super) fn notice(content: String) -> Entry {
    Entry { kind: EntryKind::Notice, content, joins: false }
}
