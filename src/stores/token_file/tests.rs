//! The token file against a real disk. What root's rights hide (mode 0000, a full disk) is tested
//! with the whole program.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt as _, chown, symlink},
        net::UnixListener,
    },
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use tempfile::TempDir;

use super::*;
use crate::auth::Secret;

const SAMPLE: &str = "rQ3vK9pL2mN4oP6qR8sT0uV1wX3yZ5aB7cD9eF1gH3iJ5kL7";
const GOOD: &str = r#"{
  "value": "rQ3vK9pL2mN4oP6qR8sT0uV1wX3yZ5aB7cD9eF1gH3iJ5kL7",
  "created_at": "2025-11-11T10:30:00Z"
}"#;

/// A state directory of its own, and the token file in it.
struct Home {
    dir: TempDir,
    file: TokenFile,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0o700);
        let file = TokenFile::new(dir.path().join("auth_token"), dir.path());
        Self { dir, file }
    }

    fn holding(content: impl AsRef<[u8]>) -> Self {
        let home = Self::new();
        fs::write(home.file.path(), content).unwrap();
        set_mode(home.file.path(), 0o600);
        home
    }

    fn content(&self) -> String {
        fs::read_to_string(self.file.path()).unwrap()
    }

    fn entries(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn token(byte: u8) -> PrimaryToken {
    let created_at = "2026-01-02T03:04:05.678Z".parse().unwrap();
    PrimaryToken { secret: Secret::from_random([byte; 32]), created_at }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Everything that an operator gets to read.
fn words(error: &StoreError) -> String {
    format!("{error} | {} | {error:?}", error.help)
}

#[test]
fn the_specifications_sample_is_read() {
    let home = Home::holding(GOOD);

    let token = home.file.load().unwrap().unwrap();

    assert_eq!(token.secret.expose(), SAMPLE);
    assert_eq!(token.created_at, "2025-11-11T10:30:00Z".parse().unwrap());
    assert_eq!(home.file.state(&token.secret.digest()), FileState::Current);
}

#[test]
fn a_file_of_the_original_is_read() {
    let home = Home::holding(format!(
        r#"{{"value": "{}", "created_at": "2026-11-23T03:23:58.032414"}}"#,
        "a".repeat(43)
    ));

    assert!(home.file.load().unwrap().is_some());
}

#[test]
fn no_file_is_no_token() {
    let home = Home::new();
    let nowhere = TokenFile::new(home.dir.path().join("no/such/token"), home.dir.path());

    assert!(home.file.load().unwrap().is_none());
    assert!(nowhere.load().unwrap().is_none());
    assert_eq!(nowhere.state(&token(1).secret.digest()), FileState::Missing);
    assert_eq!(home.entries(), Vec::<String>::new());
}

#[test]
fn created_token_is_loaded_again() {
    let home = Home::new();

    home.file.create(&token(1)).unwrap();

    let loaded = home.file.load().unwrap().unwrap();
    assert_eq!(loaded.secret.digest(), token(1).secret.digest());
    assert_eq!(loaded.created_at, "2026-01-02T03:04:05Z".parse().unwrap());
    assert_eq!(mode(home.file.path()), 0o600);
    assert_eq!(home.entries(), ["auth_token"]);
}

#[test]
fn create_never_replaces() {
    let home = Home::holding("half a tok");

    let error = home.file.create(&token(1)).unwrap_err();

    assert!(error.what.ends_with("exists already"), "{error}");
    assert_eq!(home.content(), "half a tok");
    assert_eq!(home.entries(), ["auth_token"]);
}

#[test]
fn create_makes_missing_directories_for_us_alone() {
    let home = Home::new();
    let file = TokenFile::new(home.dir.path().join("a/b/token.json"), Path::new("/elsewhere"));

    file.create(&token(1)).unwrap();

    assert_eq!(mode(&home.dir.path().join("a")), 0o700);
    assert_eq!(mode(&home.dir.path().join("a/b")), 0o700);
    assert_eq!(file.state(&token(1).secret.digest()), FileState::Current);
}

#[test]
fn replace_keeps_members_that_it_does_not_know() {
    let home = Home::holding(format!(
        r#"{{"note": "for the night shift", "value": "{SAMPLE}", "created_at": "2025-11-11T10:30:00Z", "tags": [1, {{"a": null}}]}}"#
    ));

    home.file.replace(&token(2)).unwrap();

    let content: serde_json::Value = serde_json::from_str(&home.content()).unwrap();
    assert_eq!(content["note"], "for the night shift");
    assert_eq!(content["tags"], serde_json::json!([1, {"a": null}]));
    assert_eq!(content["value"], token(2).secret.expose());
    assert_eq!(content["created_at"], "2026-01-02T03:04:05Z");
    assert!(home.content().starts_with("{\n  \"value\": "), "{}", home.content());
    assert_eq!(home.entries(), ["auth_token"]);
}

#[test]
fn replace_keeps_the_digits_of_numbers_that_no_type_of_ours_has() {
    for number in ["5E90", "1e400", "0.1000", "123456789012345678901234567890", "-0"] {
        let content =
            GOOD.replace("\n}", &format!(",\n  \"note\": {{\"a\": [{number}, 1,  2]}}\n}}"));
        let home = Home::holding(content);

        home.file.replace(&token(2)).unwrap();

        let kept = format!("{{\"a\": [{number}, 1,  2]}}");
        assert!(home.content().contains(&kept), "{number}: {}", home.content());
        assert_eq!(home.file.load().unwrap().unwrap().secret.expose(), token(2).secret.expose());
    }
}

#[test]
fn replace_writes_a_deleted_file_anew() {
    let home = Home::new();

    home.file.replace(&token(2)).unwrap();

    assert_eq!(home.file.state(&token(2).secret.digest()), FileState::Current);
    assert_eq!(mode(home.file.path()), 0o600);
}

#[test]
fn what_a_crash_left_is_removed_and_never_read() {
    let home = Home::holding(GOOD);
    fs::write(home.dir.path().join(".auth_token.new"), r#"{"value": "abc"#).unwrap();

    assert_eq!(home.file.load().unwrap().unwrap().secret.expose(), SAMPLE);
    home.file.replace(&token(2)).unwrap();

    assert_eq!(home.file.state(&token(2).secret.digest()), FileState::Current);
    assert_eq!(home.entries(), ["auth_token"]);
}

#[test]
fn state_tells_what_the_next_start_will_find() {
    let home = Home::holding(GOOD);
    let in_force = home.file.load().unwrap().unwrap().secret;
    set_mode(home.file.path(), 0o644);
    set_mode(home.dir.path(), 0o755);

    assert_eq!(home.file.state(&in_force.digest()), FileState::Current);
    assert_eq!((mode(home.file.path()), mode(home.dir.path())), (0o644, 0o755), "changed");
    assert_eq!(home.file.state(&token(1).secret.digest()), FileState::Differs);
    fs::write(home.file.path(), "{").unwrap();
    let FileState::Unusable(why) = home.file.state(&in_force.digest()) else { panic!("usable") };
    assert!(why.contains("ends too early") && why.contains("; restore it"), "{why}");
    fs::remove_file(home.file.path()).unwrap();
    assert_eq!(home.file.state(&in_force.digest()), FileState::Missing);
}

#[test]
fn what_cannot_be_understood_is_neither_changed_nor_shown() {
    let half = &GOOD.as_bytes()[..40];
    let cases: &[(&[u8], &str)] = &[
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (half, "ends too early, at line 2, column"),
        (b"\0\0\0\0", "not JSON, from line 1, column 1"),
        (b"invalid json{{{", "not JSON, from line 1, column 1"),
        (b"\xef\xbb\xbf{\"value\": \"x\"}", "byte order mark"),
        (b"[]", "an array instead of an object"),
        (b"null", "null instead of an object"),
        (b"\"hunter2hunter2\"", "a text instead of an object"),
        (b"{\"value\": \"\xff\xfe\"}", "not UTF-8 text, from byte 11"),
        (b"{}", "`value` is missing"),
        (br#"{"created_at": "2025-11-11T10:30:00Z"}"#, "`value` is missing"),
        (br#"{"value": 12345678901}"#, "`value` is not a text"),
        (br#"{"value": "hunter2"}"#, "43 to 128 characters, this one has 7"),
        (br#"{"value": "hunter2hunter2hunter2hunter2hunter2hunter2!"}"#, "only the characters A-Z"),
        (br#"{"value": "hunter2hunter2hunter2hunter2hunter2hunter2h"}"#, "`created_at` is missing"),
        (
            br#"{"value": "hunter2hunter2hunter2hunter2hunter2hunter2h", "created_at": 7}"#,
            "`created_at` is not a text",
        ),
        (
            br#"{"value": "hunter2hunter2hunter2hunter2hunter2hunter2h", "created_at": "hunter2"}"#,
            "`created_at` is no time",
        ),
        (
            br#"{"value": "hunter2hunter2hunter2hunter2hunter2hunter2h", hunter2}"#,
            "not JSON, from line 1, column",
        ),
        (&[b' '; MAX_BYTES + 1], "larger than 65536 bytes"),
    ];
    for (content, flaw) in cases {
        let home = Home::holding(content);
        let shown = String::from_utf8_lossy(content);

        for error in [home.file.load().unwrap_err(), home.file.replace(&token(1)).unwrap_err()] {
            let words = words(&error);
            assert!(words.contains(flaw), "{shown}: {words}");
            assert!(words.contains(&format!("`{}`", home.file.path().display())), "{words}");
            assert!(error.help.contains("`mv "), "{words}");
            assert!(!words.contains("hunter2") && !words.contains("rQ3"), "{words}");
        }
        assert_eq!(&fs::read(home.file.path()).unwrap(), content, "changed: {shown}");
        assert_eq!(home.entries(), ["auth_token"]);
    }
}

#[test]
fn looser_modes_of_the_file_are_tightened() {
    for (loose, tight) in [
        (0o644, 0o600),
        (0o666, 0o600),
        (0o640, 0o600),
        (0o604, 0o600),
        (0o700, 0o600),
        (0o440, 0o400),
    ] {
        let home = Home::holding(GOOD);
        set_mode(home.file.path(), loose);

        home.file.load().unwrap();

        assert_eq!(mode(home.file.path()), tight, "from {loose:04o}");
    }
}

#[test]
fn file_that_its_owner_may_not_read_is_an_error_that_says_the_chmod() {
    let home = Home::holding(GOOD);
    set_mode(home.file.path(), 0);
    if fs::File::open(home.file.path()).is_ok() {
        return; // root reads everything
    }

    let error = home.file.load().unwrap_err();

    assert!(error.what.starts_with("could not read"), "{error}");
    assert_eq!(error.help, format!("`chmod 600 {}`", home.file.path().display()));
    assert_eq!(error.source.unwrap().kind(), std::io::ErrorKind::PermissionDenied);
}

#[test]
fn directory_without_the_right_to_write_is_an_error_that_leaves_the_file() {
    let home = Home::holding(GOOD);
    set_mode(home.dir.path(), 0o500);
    if fs::write(home.dir.path().join("probe"), "").is_ok() {
        return; // root writes everywhere
    }

    let error = home.file.replace(&token(1)).unwrap_err();

    set_mode(home.dir.path(), 0o700);
    assert!(error.help.contains("may not do this"), "{}", error.help);
    assert_eq!(home.content(), GOOD);
}

#[test]
fn anything_but_a_file_of_its_own_is_refused_and_left() {
    type Setup = fn(&Path, &Path);
    let cases: &[(&str, Setup)] = &[
        ("is a symbolic link", |at, good| symlink(good, at).unwrap()),
        ("is a symbolic link", |at, _| symlink("nowhere", at).unwrap()),
        ("has 2 names (hard links)", |at, good| fs::hard_link(good, at).unwrap()),
        ("is a directory", |at, _| fs::create_dir(at).unwrap()),
        ("is a named pipe", |at, _| mkfifo(at, Mode::S_IRWXU).unwrap()),
        ("is a socket", |at, _| drop(UnixListener::bind(at).unwrap())),
    ];
    for (flaw, setup) in cases {
        let home = Home::new();
        let good = home.dir.path().join("good");
        fs::write(&good, GOOD).unwrap();
        set_mode(&good, 0o644);
        setup(home.file.path(), &good);

        for error in [home.file.load().unwrap_err(), home.file.replace(&token(1)).unwrap_err()] {
            assert!(error.what.contains(flaw), "{flaw}: {error}");
            assert!(!error.help.is_empty());
        }
        let FileState::Unusable(why) = home.file.state(&token(1).secret.digest()) else {
            panic!("{flaw}")
        };
        assert!(why.contains(flaw), "{why}");
        assert!(home.file.create(&token(1)).unwrap_err().what.ends_with("exists already"));
        assert_eq!(home.entries(), ["auth_token", "good"], "{flaw}");
        assert_eq!(fs::read_to_string(&good).unwrap(), GOOD);
        assert_eq!(mode(&good), 0o644, "{flaw}: touched what it refuses");
    }
}

#[test]
fn another_users_file_is_refused_with_the_command_to_run() {
    let home = Home::holding(GOOD);
    if chown(home.file.path(), Some(12345), None).is_err() {
        return; // only root can give a file away
    }

    for error in [home.file.load().unwrap_err(), home.file.replace(&token(1)).unwrap_err()] {
        assert!(error.what.contains("belongs to `12345`, and fleet-mcp runs as `root`"), "{error}");
        assert!(error.help.starts_with("`chown root "), "{}", error.help);
    }
    assert_eq!(home.content(), GOOD);
}

#[test]
fn mode_of_a_shared_directory_is_never_changed() {
    for (shared, safe) in [
        (0o755, true),
        (0o711, true),
        (0o700, true),
        (0o775, false),
        (0o777, false),
        (0o1777, false),
    ] {
        let home = Home::holding(GOOD);
        let file = TokenFile::new(home.file.path().to_owned(), Path::new("/elsewhere"));
        set_mode(home.dir.path(), shared);

        let loaded = file.load();
        let replaced = file.replace(&token(1));

        assert_eq!(loaded.is_ok(), safe, "{shared:04o}");
        assert_eq!(replaced.is_ok(), safe, "{shared:04o}");
        assert_eq!(mode(home.dir.path()), shared);
        if let Err(error) = loaded {
            assert!(error.help.contains("`chmod go-w "), "{}", error.help);
            assert_eq!(home.content(), GOOD);
        }
    }
}

#[test]
fn directory_that_anyone_can_replace_is_refused() {
    let home = Home::new();
    let open = home.dir.path().join("open");
    fs::create_dir_all(open.join("dir")).unwrap();
    set_mode(&open.join("dir"), 0o700);
    set_mode(&open, 0o777);
    // The same, behind a link whose own way is safe.
    symlink("open/dir", home.dir.path().join("link")).unwrap();

    for dir in [open.join("dir"), home.dir.path().join("link")] {
        let error =
            TokenFile::new(dir.join("token"), Path::new("/x")).create(&token(1)).unwrap_err();

        assert!(error.what.starts_with("anyone can replace"), "{error}");
        assert_eq!(error.help, format!("`chmod o-w {}`", open.display()));
    }
    assert_eq!(fs::read_dir(open.join("dir")).unwrap().count(), 0);
}

#[test]
fn a_parent_that_is_a_file_is_an_error_with_words() {
    let home = Home::holding(GOOD);
    let file = TokenFile::new(home.file.path().join("token"), home.dir.path());

    let error = file.load().unwrap_err();

    assert!(error.what.starts_with("could not open the directory"), "{error}");
    assert!(error.help.contains("not a directory"), "{}", error.help);
}

#[test]
fn a_path_without_a_file_name_is_refused() {
    for path in ["/", ".."] {
        let error = TokenFile::new(path.into(), Path::new("/x")).load().unwrap_err();

        assert!(error.what.ends_with("does not name a file"), "{error}");
    }
}
