//! Who may come in: the Authorization header of each request, judged.

use std::{net::SocketAddr, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{Issued, Tokens};
use crate::{
    app::audit,
    auth::{Digest, Form, Refusal, Source, TokenName, Verdict, header, secret, token::End},
};

/// Why a request is not let in.
#[derive(Debug, Clone)]
pub struct Denied {
    /// When it was judged.
    pub at: Timestamp,
    /// Why.
    pub refusal: Refusal,
    /// Of what was presented, if anything was.
    pub digest: Option<Digest>,
    /// Whose secret it is, or was.
    pub token: Option<TokenName>,
    /// For the log only: it must not help whoever guesses.
    pub hint: Option<&'static str>,
    /// When to come back, if that makes a difference.
    pub retry_after: Option<SignedDuration>,
}

impl Denied {
    fn new(
        at: Timestamp,
        refusal: Refusal,
        digest: Option<Digest>,
        token: Option<TokenName>,
    ) -> Self {
        Self { at, refusal, digest, token, hint: None, retry_after: None }
    }

    /// The fingerprint of what was presented.
    pub fn fingerprint(&self) -> Option<String> {
        self.digest.map(|digest| digest.fingerprint())
    }
}

impl Tokens {
    /// Why a request that was let in with this secret is refused after all.
    pub fn ended_meanwhile(&self, issued: &Issued) -> Denied {
        let now = self.clock.now();
        let refusal = match issued.generation.over(now) {
            Some(End::Expired) => Refusal::Expired,
            Some(End::Replaced) | None => Refusal::Revoked,
        };
        let token = issued.token().name.clone();
        Denied::new(now, refusal, Some(issued.generation.digest), Some(token))
    }

    /// Judges the Authorization headers of one request. Counts a use of a valid token.
    ///
    /// # Errors
    /// Why the request is to be refused.
    pub fn authenticate<'a>(
        &self,
        headers: impl Iterator<Item = &'a [u8]>,
        client: SocketAddr,
    ) -> Result<Arc<Issued>, Denied> {
        let now = self.clock.now();
        let presented =
            header::presented(headers).map_err(|refusal| Denied::new(now, refusal, None, None))?;
        // A longer token can't be ours, and hashing is what it would cost us.
        let digest = Digest::of(&presented[..presented.len().min(secret::MAX_LEN + 1)]);
        if Form::of(presented) == Form::Mistyped {
            let hint = Some("its checksum is wrong: mistyped, or cut off");
            let denied = Denied::new(now, Refusal::InvalidToken, Some(digest), None);
            return Err(Denied { hint, ..denied });
        }
        let denied = |refusal, token| Err(Denied::new(now, refusal, Some(digest), token));
        let name = |issued: &Issued| Some(issued.token().name.clone());
        let verdict = self.registry().look_up(&digest, now);
        match verdict {
            Verdict::Valid(issued) if !issued.token().networks.hold(client.ip()) => {
                denied(Refusal::Elsewhere, name(&issued))
            }
            Verdict::Valid(issued) => {
                if issued.count(Source::of(client.ip()), now, &self.unsaved_use) {
                    audit::token_first_used(issued.token().name.as_str(), client);
                }
                Ok(issued)
            }
            Verdict::Ended(issued, End::Expired) => denied(Refusal::Expired, name(&issued)),
            Verdict::Ended(issued, End::Replaced) => denied(Refusal::Revoked, name(&issued)),
            Verdict::Retired(token) => denied(Refusal::Revoked, Some(token)),
            Verdict::Unknown => denied(Refusal::InvalidToken, None),
        }
    }
}
