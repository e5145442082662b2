//! Where the primary token comes from: no setting, because no file that others may read, and no
//! command line, should hold it.

use std::{io, path::Path};

use super::{
    Problem, Surroundings,
    fragment::{Entry, Fragment},
};
use crate::{app::settings::PrimarySource, auth::Secret};

/// The variable that may hold the primary token itself.
pub(super) const VARIABLE: &str = "FLEET_MCP_AUTH_TOKEN";

/// The credential's name.
const CREDENTIAL: &str = "auth_token";

/// The source that wins: systemd's credential, else the variable, else the token file. With the
/// variable, its value.
pub(super) fn primary(
    merged: &Fragment,
    around: &Surroundings,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> (PrimarySource, Option<Secret>) {
    let credential = around.credentials.as_deref().map(|dir| dir.join(CREDENTIAL));
    let credential = credential.filter(|path| is_there(path, problems));
    match (credential, &merged.token) {
        (Some(path), variable) => {
            if let Some(entry) = variable {
                let place = entry.origin.of(VARIABLE);
                let path = path.display();
                warnings.push(format!("{place}: is passed over for the credential `{path}`"));
            }
            (PrimarySource::Credential(path), None)
        }
        (None, Some(entry)) => {
            let secret = secret(entry).map_err(|why| {
                problems.push(Problem::new(entry.origin.of(VARIABLE), why));
            });
            (PrimarySource::Variable(entry.origin.to_string()), secret.ok())
        }
        (None, None) => (PrimarySource::File, None),
    }
}

fn secret(entry: &Entry) -> Result<Secret, String> {
    let text = entry.raw.text().unwrap_or_default();
    Secret::parse(text).map_err(|flaw| match text {
        "" => "is empty; set it to the token, or unset it".to_owned(),
        _ => format!("{flaw}; `openssl rand -base64 32 | tr '+/' '-_' | tr -d '='` makes one"),
    })
}

/// Systemd makes the directory for other credentials too.
fn is_there(path: &Path, problems: &mut Vec<Problem>) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            problems.push(Problem::unreadable(path, &error));
            false
        }
    }
}
