use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::{
    app::ports::Use,
    auth::{Generation, Networks, Projects, Scope, Scopes, Source, Token},
};

fn home() -> (TempDir, GrantFile) {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), Permissions::from_mode(0o700)).unwrap();
    let file = GrantFile::new(home.path());
    (home, file)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn plain(name: &str) -> Grant {
    let token = Token { name: name.parse().unwrap(), ..Token::primary() };
    let token = Arc::new(token);
    let secret = Generation {
        token: Arc::clone(&token),
        digest: Digest::of(name.as_bytes()),
        created_at: at("2026-01-01T00:00:00Z"),
        expires_at: None,
        overlaps_until: None,
    };
    Grant { token, secrets: vec![(secret, Use::default())] }
}

fn full(name: &str) -> Grant {
    let token = Arc::new(Token {
        name: name.parse().unwrap(),
        scopes: Scopes::from_iter([Scope::Read, Scope::Metrics]),
        projects: Projects::Only(["Website".into()].into()),
        networks: Networks::Only(
            ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()].into(),
        ),
        lifetime: Some(SignedDuration::from_hours(24 * 90)),
    });
    let secret = |text: &str, overlaps_until, from: &str| {
        let generation = Generation {
            token: Arc::clone(&token),
            digest: Digest::of(text.as_bytes()),
            created_at: at("2026-01-01T00:00:00Z"),
            expires_at: Some(at("2026-04-01T00:00:00Z")),
            overlaps_until,
        };
        let last = Some(at("2026-02-01T00:00:00Z"));
        (generation, Use { requests: 7, last, from: Source::parse(from) })
    };
    let until = Some(at("2026-03-01T00:00:00.5Z"));
    let secrets = vec![secret("new", None, "203.0.113.7"), secret("old", until, "2001:db8::7")];
    Grant { token, secrets }
}

#[test]
fn what_was_saved_is_loaded_and_holds_no_more_than_it_has_to() {
    let (home, file) = home();
    assert_eq!(file.load().unwrap(), None);
    let grants = [full("ci"), plain("alice")];

    file.save(&grants).unwrap();

    assert_eq!(GrantFile::new(home.path()).load().unwrap().unwrap(), grants);
    let path = home.path().join("tokens.json");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let text = fs::read_to_string(path).unwrap();
    assert!(text.starts_with("{\n  \"version\": 1,\n"), "{text}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_understood_is_neither_changed_nor_shown() {
    let (home, file) = home();
    let path = home.path().join("tokens.json");
    file.save(&[full("ci")]).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    for (text, word) in [
        (String::new(), "it is empty"),
        (good[..good.len() / 2].to_owned(), "it ends too early, at line"),
        (format!("{good}x"), "it is not JSON, at line"),
        ("[]".to_owned(), "a member is missing, unknown or of the wrong kind"),
        (with("\"version\": 1", "\"version\": 2"), "it is of version 2, and this fleet-mcp knows"),
        (with("\"version\": 1,", ""), "a member is missing"),
        (with("\"name\"", "\"hunter2\": 1, \"name\""), "a member is missing, unknown"),
        (with("\"ci\"", "\"c i\""), "it can't be called so"),
        (with("\"ci\"", &format!("\"{}hunter2 \"", "s".repeat(40))), "it can't be called so"),
        (with("\"read\"", "\"hunter2\""), "it has a scope that does not exist"),
        (with("10.0.0.0/8", "hunter2"), "a member is missing, unknown or of the wrong kind"),
        (with("203.0.113.7", "hunter2"), "the address of its last use is none"),
        (with("\"sha256\": \"1", "\"sha256\": \"g"), "a digest is no SHA-256 in hex"),
    ] {
        fs::write(&path, &text).unwrap();

        let error = file.load().unwrap_err();

        assert!(error.what.contains(word), "{word}: {error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        assert!(file.save(&[plain("new")]).is_err(), "{word}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{word}");
    }
}

#[test]
fn names_and_secrets_stand_in_it_once() {
    let (home, file) = home();
    for (grants, word) in [
        ([plain("a"), plain("a")], "token `a` stands in it twice"),
        ([full("a"), full("b")], "two of its secrets are the same, one of token `b`"),
    ] {
        fs::write(home.path().join("tokens.json"), format::render(&grants)).unwrap();

        assert!(file.load().unwrap_err().what.ends_with(word));
    }
}

#[test]
fn what_somebody_else_has_written_meanwhile_is_not_lost() {
    let (home, file) = home();
    let path = home.path().join("tokens.json");
    file.save(&[plain("a")]).unwrap();
    assert_eq!(file.state(), FileState::Current);
    let edited = format::render(&[plain("a"), plain("b")]);
    fs::write(&path, &edited).unwrap();

    let error = file.save(&[plain("c")]).unwrap_err();

    assert!(error.what.ends_with("was changed by somebody else"), "{error}");
    assert_eq!(file.state(), FileState::Differs);
    assert_eq!(fs::read(&path).unwrap(), edited);
    file.load().unwrap();
    file.save(&[plain("c")]).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(file.state(), FileState::Missing);
    file.save(&[plain("d")]).unwrap();
    assert_eq!(file.load().unwrap().unwrap(), [plain("d")]);
}

#[test]
fn a_file_that_is_not_ours_alone_is_refused_or_tightened() {
    let (home, file) = home();
    let path = home.path().join("tokens.json");
    file.save(&[plain("a")]).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    file.load().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    fs::rename(&path, home.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();

    let error = file.load().unwrap_err();

    assert!(error.what.ends_with("is a symbolic link"), "{error}");
}
