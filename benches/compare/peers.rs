//! What `benches/compare/run` compares the daemon with, and the fleets that it fills.
//!
//! `compare bare < ANSWERS` an axum handler that gives the answers that it was told, by path; it reads the body of a request
//! first, as the daemon does. `compare rmcp < TOOLS` rmcp as it is, with a `list_agents` that gives the answer that it was
//! told. Both print their address and serve until they are killed. `compare fill DIRECTORY AGENTS` makes the daemon's store with so
//! many agents; `compare certificate DIRECTORY` makes one for `localhost`, and its key.

#![expect(clippy::print_stdout, reason = "who starts it reads the address")]

#[path = "../sample/mod.rs"]
mod sample;

use std::{
    collections::{BTreeMap, HashMap},
    env,
    error::Error,
    fs, io,
    path::Path,
    sync::Arc,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
    routing::any_service,
    serve::ListenerExt as _,
};
use bytes::Bytes;
use fleet_mcp::{app::ports::fleet_store::FleetStore as _, stores::FleetDb};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body as _;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinSet};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// As much of a body as the daemon reads before it refuses.
const MAX_BODY: usize = 64 * 1024;

#[tokio::main]
async fn main() -> Outcome {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare"] => serve(bare(serde_json::from_reader(io::stdin())?)?).await,
        ["rmcp"] => serve(mcp(serde_json::from_reader(io::stdin())?)).await,
        ["fill", directory, agents] => fill(Path::new(directory), agents.parse()?).await,
        ["certificate", directory] => certificate(Path::new(directory)),
        _ => {
            Err("usage: compare bare | rmcp | fill DIRECTORY AGENTS | certificate DIRECTORY".into())
        }
    }
}

async fn serve(router: Router) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    Ok(axum::serve(listener, router).await?)
}

/// An answer of the daemon.
#[derive(Deserialize)]
struct Recorded {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

fn bare(recorded: HashMap<String, Recorded>) -> Outcome<Router> {
    let mut router = Router::new();
    for (path, recorded) in recorded {
        let mut headers = HeaderMap::new();
        for (name, value) in recorded.headers {
            headers.insert(name.parse::<HeaderName>()?, HeaderValue::try_from(value)?);
        }
        let status = StatusCode::from_u16(recorded.status)?;
        let answer = Answer { status, headers, body: recorded.body.into() };
        router = router.route(&path, axum::routing::any(give).with_state(Arc::new(answer)));
    }
    Ok(router)
}

async fn give(State(answer): State<Arc<Answer>>, request: Request) -> Response {
    let body = request.into_body();
    if !body.is_end_stream() {
        // What can't be read is answered as well.
        let _ = to_bytes(body, MAX_BODY).await;
    }
    let mut response = Response::new(Body::from(answer.body.clone()));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    response
}

/// The daemon's tools, and what its `list_agents` answers.
#[derive(Deserialize)]
struct Fleet {
    tools: Vec<Tool>,
    answer: Answered,
}

#[derive(Deserialize, Serialize)]
struct Answered {
    agents: Vec<Agent>,
    #[serde(flatten)]
    page: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize, Serialize)]
struct Agent {
    name: String,
    status: String,
    role: String,
    project: String,
    last_task: String,
    needs_attention: bool,
    created_at: String,
    metadata: BTreeMap<String, String>,
    metadata_count: usize,
}

fn mcp(fleet: Fleet) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_sse_retry(None);
    let fleet = Arc::new(fleet);
    let handler = move || Ok(Server(Arc::clone(&fleet)));
    let sessions = Arc::<LocalSessionManager>::default();
    Router::new().route("/mcp", any_service(StreamableHttpService::new(handler, sessions, config)))
}

struct Server(Arc<Fleet>);

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.0.tools.clone())
            .with_ttl_ms(60_000)
            .with_cache_scope(CacheScope::Private))
    }

    async fn call_tool(
        &self,
        _request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let answer = serde_json::to_value(&self.0.answer);
        let answer = answer.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        Ok(CallToolResult::structured(answer).into())
    }
}

async fn fill(state: &Path, agents: i64) -> Outcome {
    let db = FleetDb::open(state)?;
    let mut pending = JoinSet::new();
    for id in 1..=agents {
        pending.spawn(db.commit(vec![sample::agent(id), sample::task(id, id)]));
    }
    while let Some(done) = pending.join_next().await {
        done??;
    }
    Ok(())
}

fn certificate(directory: &Path) -> Outcome {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(directory.join("certificate.pem"), made.cert.pem())?;
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem())?;
    Ok(())
}
