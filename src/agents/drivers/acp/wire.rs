//! JSON-RPC 2.0 in lines: what one of the program's lines is, and the lines for it.

use agent_client_protocol::v1::schema::{Error, ErrorCode, RequestId};
use serde::Serialize;
use serde_json::{Value, json};

use super::words::clip;

/// What one of the program's lines is.
#[derive(Debug)]
pub(super) enum Heard {
    /// It wants an answer.
    Request { id: RequestId, method: String, params: Value },
    /// It tells something.
    Notification { method: String, params: Value },
    /// It answers our request of this number.
    Response { id: i64, result: Result<Value, Error> },
    /// Nothing of the protocol; in words.
    Stray(String),
}

/// What a line is.
pub(super) fn read(line: &str) -> Heard {
    let Ok(Value::Object(mut message)) = serde_json::from_str::<Value>(line) else {
        return Heard::Stray(line.to_owned());
    };
    let id = message.remove("id");
    let params = message.remove("params").unwrap_or_default();
    match (message.remove("method"), id) {
        (Some(Value::String(method)), None) => Heard::Notification { method, params },
        (Some(Value::String(method)), Some(id)) => match serde_json::from_value(id) {
            Ok(id) => Heard::Request { id, method, params },
            Err(_) => Heard::Stray(line.to_owned()),
        },
        (Some(_), _) => Heard::Stray(line.to_owned()),
        (None, id) => {
            let error = message.remove("error").filter(|error| !error.is_null()).map(error);
            match (id.as_ref().and_then(Value::as_i64), error) {
                (Some(id), Some(error)) => Heard::Response { id, result: Err(error) },
                (Some(id), None) => {
                    let result = message.remove("result").unwrap_or_default();
                    Heard::Response { id, result: Ok(result) }
                }
                // Some agents answer a notification that they don't know with an error.
                (None, Some(error)) => Heard::Stray(format!("error: {}", error.message)),
                (None, None) => Heard::Stray(line.to_owned()),
            }
        }
    }
}

/// An error as far as it can be understood.
fn error(value: Value) -> Error {
    serde_json::from_value(value.clone()).unwrap_or_else(|_| {
        let message = value.get("message").and_then(Value::as_str).map(str::to_owned);
        let message = message.unwrap_or_else(|| clip(&value.to_string(), 500));
        Error::new(ErrorCode::InternalError.into(), message)
    })
}

pub(super) fn request(id: i64, method: &str, params: &impl Serialize) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

pub(super) fn notification(method: &str, params: &impl Serialize) -> String {
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}

pub(super) fn response(id: &RequestId, result: &impl Serialize) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

pub(super) fn refusal(id: &RequestId, error: &Error) -> String {
    json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string()
}
