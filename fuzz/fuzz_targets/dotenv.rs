//! A `.env`: its last line turns authentication on, and nothing before it hides that without a problem
//! being told.

#![no_main]

use std::{fs, path::PathBuf};

use fleet_mcp::config::{self, Flags, Sources};
use fleet_mcp_fuzz::directory;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static DIRECTORY: tempfile::TempDir = directory();
}

fuzz_target!(|data: &[u8]| DIRECTORY.with(|directory| {
    let path = directory.path().join(".env");
    let content = [data, b"\nFLEET_MCP_AUTH_ENABLED=true\n"].concat();
    fs::write(&path, &content).expect("a file");
    let home = directory.path().to_str().expect("UTF-8");
    let sources = Sources {
        environment: vec![("HOME".into(), home.into())],
        working_dir: directory.path().to_owned(),
        euid: 0,
        program: PathBuf::from("/usr/bin/true"),
        flags: Flags::default(),
    };

    match config::load(&sources) {
        Ok(loaded) => {
            assert!(loaded.settings.auth.enabled, "{:?}", String::from_utf8_lossy(data));
            assert!(loaded.files.contains(&path));
        }
        Err(errors) => {
            for problem in errors.problems {
                let line = problem.to_string();
                assert!(!line.contains('\n') && !line.contains('\u{1b}'), "{line:?}");
            }
        }
    }
}));
