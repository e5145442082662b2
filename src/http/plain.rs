//! The tools as plain HTTP, for curl and scripts: `GET /mcp/{tool}?argument=…` for those that
//! change nothing, `POST /mcp/{tool}` with a JSON object for all.

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use super::{context::Context, error::HttpError};
use crate::{
    app::{App, error::FleetError},
    auth::Principal,
    tools::{self, Call, Effect, Tool},
};

pub(super) async fn get(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    Extension(context): Extension<Context>,
    name: Result<Path<String>, PathRejection>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, HttpError> {
    let tool = find(name, &principal)?;
    if tool.effect != Effect::Reads {
        return Ok(needs_post(tool));
    }
    let arguments = from_query(tool, query)?;
    answer(tool, Call { app, principal, origin: Some(context.origin()), progress: None }, arguments)
        .await
}

pub(super) async fn post(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    Extension(context): Extension<Context>,
    name: Result<Path<String>, PathRejection>,
    body: Bytes,
) -> Result<Response, HttpError> {
    let tool = find(name, &principal)?;
    let arguments = from_body(&body)?;
    // A large one makes room for others while the tool works.
    drop(body);
    answer(tool, Call { app, principal, origin: Some(context.origin()), progress: None }, arguments)
        .await
}

/// Any other method than those two.
pub(super) async fn other_method() -> Response {
    not_allowed("use GET, or POST with a JSON object", "GET, POST")
}

fn find(
    name: Result<Path<String>, PathRejection>,
    principal: &Principal,
) -> Result<&'static Tool, HttpError> {
    let Path(name) = name.map_err(|_| HttpError::not_found("no tool has such a name"))?;
    Ok(tools::find(&name, principal)?)
}

async fn answer(
    tool: &Tool,
    call: Call,
    arguments: Map<String, Value>,
) -> Result<Response, HttpError> {
    let result = tool.call(call, arguments).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(result)).into_response())
}

fn needs_post(tool: &Tool) -> Response {
    not_allowed(format!("`{}` changes something: use POST with a JSON object", tool.name), "POST")
}

fn not_allowed(message: impl Into<String>, allowed: &'static str) -> Response {
    let error = HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "INVALID_INPUT", message);
    let mut response = error.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn from_body(body: &[u8]) -> Result<Map<String, Value>, FleetError> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        Ok(_) => Err(FleetError::invalid("the request body must be a JSON object of arguments")),
        Err(error) => Err(FleetError::invalid(format!(
            "the request body is no JSON (line {}, column {})",
            error.line(),
            error.column()
        ))),
    }
}

/// A query is all text; the tool's schema says which arguments are numbers or booleans.
fn from_query(tool: &Tool, query: Vec<(String, String)>) -> Result<Map<String, Value>, FleetError> {
    let mut arguments = Map::new();
    for (name, text) in query {
        let kind = tool.input.get("properties").and_then(|all| all.get(&name));
        let value = match kind.and_then(|schema| schema.get("type")).and_then(Value::as_str) {
            Some("integer" | "number" | "boolean") => {
                serde_json::from_str(&text).unwrap_or(Value::String(text))
            }
            _ => Value::String(text),
        };
        if arguments.insert(name.clone(), value).is_some() {
            let name: String = name.chars().take(64).collect();
            return Err(FleetError::invalid(format!("argument `{name}` is given twice")));
        }
    }
    Ok(arguments)
}
