//! The named tokens' file: what is understood is written so that it means the same, what is not lets nobody
//! in and is not changed.

#![no_main]

use std::{collections::HashSet, fs, os::unix::fs::OpenOptionsExt as _};

use fleet_mcp::{app::ports::GrantStore as _, stores::GrantFile};
use fleet_mcp_fuzz::{assert_tells_no_secret, directory};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static DIRECTORY: tempfile::TempDir = directory();
}

fuzz_target!(|data: &[u8]| DIRECTORY.with(|directory| {
    let path = directory.path().join("tokens.json");
    let _ = fs::remove_file(&path);
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).expect("a file");
    std::io::Write::write_all(&mut file, data).expect("a full file");
    let store = GrantFile::new(directory.path());

    match store.load() {
        Ok(grants) => {
            let grants = grants.expect("there is a file");
            let names: HashSet<_> = grants.iter().map(|grant| &grant.token.name).collect();
            let secrets = grants.iter().flat_map(|grant| &grant.secrets);
            let digests: HashSet<_> =
                secrets.clone().map(|(secret, _)| *secret.digest.as_bytes()).collect();
            assert_eq!(names.len(), grants.len());
            assert_eq!(digests.len(), secrets.count());
            assert!(grants.iter().all(|grant| !grant.secrets.is_empty()));
            store.save(&grants).expect("what was read can be written");
            let again = GrantFile::new(directory.path()).load();
            let again = again.expect("and read again").expect("it is there");
            assert_eq!(format!("{grants:?}"), format!("{again:?}"));
        }
        Err(error) => {
            assert!(!error.help.is_empty());
            assert_tells_no_secret(&error.what, data);
            store.save(&[]).expect_err("not over what was not understood");
            assert_eq!(fs::read(&path).expect("readable"), data);
        }
    }
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 1);
}));
