//! The values of all Authorization headers, one a line: only one spelling of one header has a token, and
//! only the whole secret is in force.

#![no_main]

use std::sync::{Arc, LazyLock};

use fleet_mcp::auth::{
    Digest, Generation, Refusal, Registry, Secret, Token, TokenName, Verdict, header,
};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

const IN_FORCE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const FORMER: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

static REGISTRY: LazyLock<Registry<Arc<Generation>>> = LazyLock::new(|| {
    let mut registry = Registry::default();
    for secret in [FORMER, IN_FORCE] {
        let generation = Generation {
            token: Arc::new(Token::primary()),
            digest: Secret::parse(secret).expect("a secret").digest(),
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            overlaps_until: None,
        };
        registry.set(&TokenName::primary(), vec![Arc::new(generation)]);
    }
    registry
});

fuzz_target!(|data: &[u8]| {
    let values: Vec<_> = data.split(|byte| *byte == b'\n').collect();
    let found = header::presented(values.iter().copied());

    match (&values[..], found) {
        ([value], Ok(token)) => {
            assert_eq!(value.strip_prefix(b"Bearer "), Some(token));
            assert!(!token.is_empty() && token.iter().all(|byte| (0x21..0x7f).contains(byte)));
            let verdict = REGISTRY.look_up(&Digest::of(token), Timestamp::UNIX_EPOCH);
            assert_eq!(matches!(verdict, Verdict::Valid(_)), token == IN_FORCE.as_bytes());
            assert_eq!(matches!(verdict, Verdict::Retired(_)), token == FORMER.as_bytes());
            if let Ok(secret) = Secret::parse(String::from_utf8_lossy(token)) {
                assert_eq!(secret.expose().as_bytes(), token);
                assert!((43..=128).contains(&token.len()));
            }
        }
        ([value], Err(refusal)) => {
            assert_eq!(refusal, Refusal::MalformedHeader);
            let token = value.strip_prefix(b"Bearer ").unwrap_or_default();
            assert!(token.is_empty() || !token.iter().all(u8::is_ascii_graphic));
        }
        (_, found) => assert_eq!(found, Err(Refusal::MalformedHeader)),
    }
});
