//! A configuration file: nothing in it turns authentication off that the environment turns on, all problems
//! are told, a line each, the same each time.

#![no_main]

use std::{fs, path::PathBuf};

use fleet_mcp::config::{self, Flags, Sources};
use fleet_mcp_fuzz::{byte, directory};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static DIRECTORY: tempfile::TempDir = directory();
}

fuzz_target!(|data: &[u8]| DIRECTORY.with(|directory| {
    let mut data = data;
    // The same, said by the environment, by a later line of the file, or by nobody.
    let by = byte(&mut data) % 3;
    let path = directory.path().join("config.toml");
    let mut content = data.to_vec();
    if by == 1 {
        content.extend(b"\n[auth]\nenabled = true\n");
    }
    fs::write(&path, &content).expect("a file");
    let home = directory.path().to_str().expect("UTF-8");
    let mut environment = vec![("HOME".into(), home.into())];
    if by == 0 {
        environment.push(("FLEET_MCP_AUTH_ENABLED".into(), "true".into()));
    }
    let sources = Sources {
        environment,
        working_dir: directory.path().to_owned(),
        euid: 0,
        program: PathBuf::from("/usr/bin/true"),
        flags: Flags { config: Some(path), values: Vec::new() },
    };

    match config::load(&sources) {
        Ok(loaded) => {
            assert!(by == 2 || loaded.settings.auth.enabled);
            assert!(!loaded.settings.listen.is_empty());
            assert!(loaded.settings.control_socket.is_absolute());
            let again = config::load(&sources).expect("the same");
            assert_eq!(format!("{:?}", again.settings), format!("{:?}", loaded.settings));
        }
        Err(errors) => {
            assert!(!errors.problems.is_empty());
            for problem in &errors.problems {
                let line = problem.to_string();
                assert!(!line.contains('\n') && !line.contains('\u{1b}'), "{line:?}");
            }
            assert_eq!(config::load(&sources).err(), Some(errors));
        }
    }
}));
