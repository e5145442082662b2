//! The token file: what is understood keeps everything else that stands in it when it is replaced, what is
//! not understood is never changed, and no message repeats it.

#![no_main]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
};

use fleet_mcp::{
    app::ports::{PrimaryToken, StoreError, TokenStore as _},
    auth::Secret,
    stores::TokenFile,
};
use fleet_mcp_fuzz::{assert_tells_no_secret, directory};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

/// Each as it is written, to the last digit.
type Members = BTreeMap<String, Box<RawValue>>;

thread_local! {
    static DIRECTORY: tempfile::TempDir = directory();
}

fuzz_target!(|data: &[u8]| DIRECTORY.with(|directory| {
    let path = directory.path().join("auth_token");
    let _ = fs::remove_file(&path);
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).expect("a file");
    std::io::Write::write_all(&mut file, data).expect("a full file");
    let store = TokenFile::new(path.clone(), directory.path());
    let next =
        PrimaryToken { secret: Secret::from_random([7; 32]), created_at: Timestamp::UNIX_EPOCH };

    match store.load() {
        Ok(Some(found)) => {
            let text = std::str::from_utf8(data).expect("only text is understood");
            let before: Members = serde_json::from_str(text).expect("and only JSON");
            let value: String = serde_json::from_str(before["value"].get()).expect("a text");
            assert_eq!(value, found.secret.expose());
            match store.replace(&next) {
                Ok(()) => {
                    let again = store.load().expect("what was written").expect("is there");
                    assert_eq!(again.secret.expose(), next.secret.expose());
                    let after = fs::read(&path).expect("readable");
                    let after: Members = serde_json::from_slice(&after).expect("JSON");
                    assert_eq!(after.len(), before.len());
                    for (name, value) in &before {
                        let ours = matches!(&**name, "value" | "created_at");
                        assert!(ours || after[name].get() == value.get());
                    }
                }
                Err(error) => {
                    told(&error, data);
                    assert_eq!(fs::read(&path).expect("readable"), data);
                }
            }
        }
        Ok(None) => panic!("there is a file"),
        Err(error) => {
            told(&error, data);
            told(&store.replace(&next).expect_err("not over what is not understood"), data);
            assert_eq!(fs::read(&path).expect("readable"), data);
        }
    }
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 1);
}));

fn told(error: &StoreError, data: &[u8]) {
    assert!(!error.help.is_empty());
    assert_tells_no_secret(&error.what, data);
    assert_tells_no_secret(&error.help, data);
}
