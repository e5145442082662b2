//! What requests about tokens do: a use case, and its answer on the wire. No token can ask for any of
//! it: these routes are on the control socket only.

use std::{error::Error, sync::Arc};

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;

use super::{
    api,
    router::{Control, Failure},
};
use crate::{
    app::{
        ports::StoreError,
        settings::PrimarySource,
        tokens::{Expiry, NewSecret, NewToken, Revocation, Rotation, SecretStatus, TokenError},
    },
    auth::{Networks, Principal, Projects, Scope, Scopes, TokenName, token::End},
};

pub(super) async fn list(State(control): State<Arc<Control>>) -> Json<api::TokenList> {
    let tokens = control.app.tokens.overview().into_iter().map(Into::into).collect();
    Json(api::TokenList { tokens })
}

pub(super) async fn create(
    State(control): State<Arc<Control>>,
    Extension(by): Extension<Principal>,
    body: Bytes,
) -> Result<Response, Failure> {
    let wanted: api::CreateToken = read(&body)?;
    let wanted = NewToken {
        name: parse(&wanted.name)?,
        scopes: scopes(&wanted.scopes)?,
        projects: projects(&control, &by, wanted.projects)?,
        networks: networks(wanted.from)?,
        expiry: expiry(wanted.expires_in_seconds, wanted.expires_at.as_deref())?
            .unwrap_or(Expiry::Never),
    };
    let new = control.app.tokens.create(wanted, by).await?;
    control.app.settle_events().await;
    Ok(issued(new))
}

pub(super) async fn rotate(
    State(control): State<Arc<Control>>,
    Extension(by): Extension<Principal>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Failure> {
    let name = find(&control, &name)?;
    let wanted: api::RotateToken = read(&body)?;
    let wanted = Rotation {
        grace: wanted.grace_seconds.map(seconds).transpose()?,
        expiry: expiry(wanted.expires_in_seconds, wanted.expires_at.as_deref())?,
    };
    let new = control.app.tokens.rotate(name, wanted, by).await?;
    control.app.settle_events().await;
    Ok(issued(new))
}

pub(super) async fn revoke(
    State(control): State<Arc<Control>>,
    Extension(by): Extension<Principal>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<api::Revoked>, Failure> {
    let name = find(&control, &name)?;
    let wanted: api::RevokeToken = read(&body)?;
    let what = if wanted.former { Revocation::Former } else { Revocation::Whole };
    let secrets = control.app.tokens.revoke(name.clone(), what, by).await?;
    control.app.settle_events().await;
    Ok(Json(api::Revoked { name: name.to_string(), secrets }))
}

pub(super) async fn secret(
    State(control): State<Arc<Control>>,
    Extension(by): Extension<Principal>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let name = find(&control, &name)?;
    let tokens = &control.app.tokens;
    if !name.is_primary() {
        let known = tokens.all().iter().any(|issued| issued.token().name == name);
        let error = if known {
            TokenError::DigestOnly(name.to_string())
        } else {
            tokens.not_found(name.as_str())
        };
        return Err(error.into());
    }
    let secret = tokens.show_primary(&by).await?;
    Ok(answer(&api::IssuedToken {
        name: name.to_string(),
        secret: secret.expose().to_owned(),
        created_at: None,
        expires_at: None,
        replaces: false,
        overlaps_until: None,
        scopes: None,
        file: match tokens.source() {
            PrimarySource::File => {
                Some(control.app.settings().auth.token_file.display().to_string())
            }
            PrimarySource::Variable(_) | PrimarySource::Credential(_) => None,
        },
    }))
}

fn issued(new: NewSecret) -> Response {
    let generation = &new.generation;
    answer(&api::IssuedToken {
        name: generation.token.name.to_string(),
        secret: new.secret.expose().to_owned(),
        created_at: Some(generation.created_at.to_string()),
        expires_at: generation.expires_at.map(|at| at.to_string()),
        replaces: new.replaces,
        overlaps_until: new.overlaps_until.map(|at| at.to_string()),
        scopes: Some(words(generation.token.scopes)),
        file: new.file.map(|file| file.display().to_string()),
    })
}

fn answer(token: &api::IssuedToken) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(token)).into_response()
}

/// A body that is left out leaves out all its members.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| invalid(format!("the request body: {error}")))
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "INVALID_INPUT", message)
}

fn parse(name: &str) -> Result<TokenName, Failure> {
    name.parse().map_err(|error| invalid(format!("{error}")))
}

/// A name that can't be one is no token's.
fn find(control: &Control, name: &str) -> Result<TokenName, Failure> {
    name.parse().map_err(|_invalid| control.app.tokens.not_found(name).into())
}

fn scopes(words: &[String]) -> Result<Scopes, Failure> {
    if words.is_empty() {
        return Err(invalid("a token without scopes allows nothing; name some"));
    }
    let scope = |word: &String| {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == word).ok_or_else(|| {
            let all = Scope::ALL.map(Scope::as_str).join(", ");
            invalid(format!("`{}` is no scope; there is: {all}", short(word)))
        })
    };
    words.iter().map(scope).collect()
}

fn projects(
    control: &Control,
    by: &Principal,
    names: Option<Vec<String>>,
) -> Result<Projects, Failure> {
    let Some(names) = names else { return Ok(Projects::All) };
    if names.is_empty() {
        return Err(invalid("a token for no project sees nothing; name some, or leave it out"));
    }
    let fleet = control.app.fleet_for(by);
    let project = |name: &String| Ok(fleet.list_roles(name)?.0.name.into());
    Ok(Projects::Only(names.iter().map(project).collect::<Result<_, Failure>>()?))
}

fn networks(texts: Option<Vec<String>>) -> Result<Networks, Failure> {
    let Some(texts) = texts else { return Ok(Networks::All) };
    if texts.is_empty() {
        return Err(invalid("a token for no network lets nobody in; name some, or leave it out"));
    }
    let network = |text: &String| {
        let address = text.parse::<std::net::IpAddr>().map(|ip| ip.to_canonical().into());
        let network = address.or_else(|_| text.parse::<ipnet::IpNet>());
        network.map(|network| network.trunc()).map_err(|_| {
            let text = short(text);
            invalid(format!("`{text}` is no IP address or network, such as `10.0.0.0/8`"))
        })
    };
    Ok(Networks::Only(texts.iter().map(network).collect::<Result<_, _>>()?))
}

fn expiry(after: Option<u64>, at: Option<&str>) -> Result<Option<Expiry>, Failure> {
    match (after, at) {
        (None, None) => Ok(None),
        (Some(after), None) => Ok(Some(Expiry::After(seconds(after)?))),
        (None, Some(at)) => {
            let at: Timestamp = at.parse().map_err(|_| {
                invalid(format!("`{}` is no time such as 2027-01-31T00:00:00Z", short(at)))
            })?;
            Ok(Some(Expiry::At(at)))
        }
        (Some(_), Some(_)) => Err(invalid("use expires_in_seconds or expires_at, not both")),
    }
}

fn seconds(count: u64) -> Result<SignedDuration, Failure> {
    let count = i64::try_from(count).map_err(|_| invalid("that many seconds are no time"))?;
    Ok(SignedDuration::from_secs(count))
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

fn words(scopes: Scopes) -> Vec<String> {
    scopes.iter().map(|scope| scope.as_str().to_owned()).collect()
}

impl From<SecretStatus> for api::Token {
    fn from(status: SecretStatus) -> Self {
        let generation = status.generation;
        let token = &generation.token;
        let state = match (status.over, generation.overlaps_until) {
            (Some(End::Expired), _) => "expired",
            (Some(End::Replaced), _) => "replaced",
            (None, Some(_)) => "overlapping",
            (None, None) => "current",
        };
        Self {
            name: token.name.to_string(),
            state: state.to_owned(),
            created_at: generation.created_at.to_string(),
            expires_at: generation.expires_at.map(|at| at.to_string()),
            overlaps_until: generation.overlaps_until.map(|at| at.to_string()),
            last_used: status.used.last.map(|at| at.to_string()),
            last_used_from: status.used.from.map(|from| from.to_string()),
            requests: status.used.requests,
            fingerprint: generation.digest.fingerprint(),
            scopes: words(token.scopes),
            projects: token.projects.names().map(|all| all.iter().map(|p| p.to_string()).collect()),
            from: token.networks.list().map(|all| all.iter().map(ToString::to_string).collect()),
        }
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        let message = error.to_string();
        let conflict = |message| Self::new(StatusCode::CONFLICT, "CONFLICT", message);
        let with_store = |status, code, store: &StoreError| {
            Self::new(status, code, &*message).because(causes(&error)).help(&*store.help)
        };
        match &error {
            TokenError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message),
            TokenError::NoneYet => Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
                .help("make one with `fleetctl rotate`"),
            TokenError::Invalid(_) => invalid(message),
            TokenError::Exists(name) => conflict(message).help(format!(
                "choose another name, or give it a new secret with `fleetctl token rotate {name}`"
            )),
            TokenError::Primary => conflict(message)
                .help("`fleetctl rotate --now` voids its present secret at once and makes another"),
            TokenError::OfAgent(_) => conflict(message)
                .help("`fleetctl agent restart` makes a new one; `fleet_token` of the role says what it allows"),
            TokenError::DigestOnly(name) => conflict(message)
                .help(format!("make a new one with `fleetctl token rotate {name}`")),
            TokenError::NotOnDisk => conflict(message).help(
                "the daemon keeps only a digest of it; make a new one with `fleetctl rotate`",
            ),
            TokenError::FromElsewhere(source) => conflict(message).help(elsewhere(source)),
            TokenError::TooManyOverlaps(name, _) => conflict(message).help(format!(
                "end them with `fleetctl token revoke {name} --former`, or rotate with --now"
            )),
            TokenError::NotPersisted { source: store, .. } => {
                with_store(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", store)
            }
            TokenError::Unreadable(store) => with_store(StatusCode::CONFLICT, "CONFLICT", store),
            TokenError::Internal => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
                    .help("the daemon's log has the cause")
            }
        }
    }
}

/// Where a token that is not ours to change is changed.
fn elsewhere(source: &PrimarySource) -> &'static str {
    match source {
        PrimarySource::File => "rotate it",
        PrimarySource::Variable(_) => {
            "change the variable where it is set, and restart the daemon; without it the token file \
             counts, and can be rotated live"
        }
        PrimarySource::Credential(_) => {
            "replace what the unit's LoadCredential= or LoadCredentialEncrypted= names, then \
             `systemctl restart` it; without it the token file counts, and can be rotated live"
        }
    }
}

fn causes(error: &dyn Error) -> Vec<String> {
    let chain = std::iter::successors(error.source(), |&cause| cause.source());
    chain.map(ToString::to_string).collect()
}
