//! The tokens at the start: where they are kept, which are in force, and who is shown the first.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::Arc,
};

use super::failure::{Failure, chain};
use crate::{
    app::{
        clock::Clock,
        ports::TokenStore,
        settings::{AuthSettings, PrimarySource, Settings},
        tokens::{InForce, Stores, Tokens},
    },
    auth::Secret,
    stores::{CredentialToken, GrantFile, TokenFile, VariableToken},
};

/// Tokens of which none is in force yet. `variable` is the primary one, if a variable holds it.
pub(super) fn open(
    settings: &Settings,
    variable: Option<Secret>,
    clock: &Arc<dyn Clock>,
) -> Arc<Tokens> {
    let stores = Stores {
        primary: primary(settings, variable, &**clock),
        source: settings.auth.primary.clone(),
        grants: Arc::new(GrantFile::new(&settings.state_dir)),
    };
    Arc::new(Tokens::new(stores, Arc::clone(clock)))
}

fn primary(
    settings: &Settings,
    variable: Option<Secret>,
    clock: &dyn Clock,
) -> Arc<dyn TokenStore> {
    match (&settings.auth.primary, variable) {
        (PrimarySource::Credential(path), _) => Arc::new(CredentialToken::new(path.clone())),
        (PrimarySource::Variable(_), Some(secret)) => {
            Arc::new(VariableToken::new(secret, clock.now()))
        }
        _ => Arc::new(TokenFile::new(settings.auth.token_file.clone(), &settings.state_dir)),
    }
}

/// Puts the tokens in force; makes the first primary one if authentication is on.
pub(super) fn take(tokens: &Tokens, settings: &Settings, print_token: bool) -> Result<(), Failure> {
    if settings.auth.enabled {
        tracing::info!("Authentication enabled");
        announce(&tokens.load_or_create()?, &settings.auth, print_token);
        return Ok(());
    }
    tracing::warn!(
        "Authentication is off: every request is served; set FLEET_MCP_AUTH_ENABLED=true to turn it on"
    );
    match tokens.load() {
        Ok(Some(secret)) if print_token => print(&secret),
        Ok(_) => {}
        // The status tells it too, as long as it is so.
        Err(error) => {
            tracing::warn!("authentication can't be turned on: {}; {}", chain(&error), error.help)
        }
    }
    Ok(())
}

/// Tells where the token is; shows it only to somebody who looks or has asked.
fn announce(token: &InForce, auth: &AuthSettings, print_token: bool) {
    let (secret, made) = match token {
        InForce::Loaded(secret) => (secret, false),
        InForce::Created(secret) => (secret, true),
    };
    if print_token || (made && std::io::stdout().is_terminal()) {
        print(secret);
    }
    let verb = if made { "saved to" } else { "loaded from" };
    match &auth.primary {
        PrimarySource::File => tracing::info!("Token {verb}: {}", auth.token_file.display()),
        elsewhere => tracing::info!("Token {verb}: {elsewhere}"),
    }
}

fn print(secret: &Secret) {
    let mut line = zeroize::Zeroizing::new(String::with_capacity(secret.expose().len() + 8));
    line.push_str("Token: ");
    line.push_str(secret.expose());
    line.push('\n');
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
        tracing::warn!(%error, "can't print the token");
    }
}
