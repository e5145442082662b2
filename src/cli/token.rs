//! `fleetctl rotate` and `fleetctl token …`. A secret goes to standard output and nowhere else.

use super::{failure::Failure, output::Output};
use crate::control::{
    api::{self, IssuedToken},
    client::Client,
};

pub(super) async fn rotate(client: &Client, output: &Output, name: &str) -> Result<(), Failure> {
    let issued: IssuedToken = client.post(&api::rotate(&in_path(name))).await?;
    print(output, &issued)?;
    output.note(&format!(
        "Token `{}` rotated: the old secret no longer works. The new one is saved to {}.\n\
         Next: give it to every client; `fleetctl client-config CLIENT` shows how each takes it.",
        issued.name, issued.file
    ));
    Ok(())
}

pub(super) async fn show(client: &Client, output: &Output, name: &str) -> Result<(), Failure> {
    let issued: IssuedToken = client.get(&api::secret(&in_path(name))).await?;
    print(output, &issued)
}

fn print(output: &Output, issued: &IssuedToken) -> Result<(), Failure> {
    if output.is_json() { output.json(issued) } else { output.line(&issued.secret) }
}

/// A name as one segment of a path.
pub(super) fn in_path(name: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => (byte as char).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}
