//! Names and sources from outside: what is accepted is its own canonical form, and no name of a repository
//! leads out of the directory that it belongs in.

#![no_main]

use std::path::Path;

use fleet_mcp::{
    agents::publish,
    auth::{Source, TokenName},
    fleet::{AgentName, Status},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);

    if let Ok(name) = text.parse::<AgentName>() {
        let name = name.as_str();
        assert!(name.parse::<AgentName>().is_ok_and(|again| again.as_str() == name));
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        assert!((1..=32).contains(&name.len()) && !name.starts_with('-') && name != "new");
        assert!(text.eq_ignore_ascii_case(name));
    }
    if let Ok(name) = text.parse::<TokenName>() {
        assert!(name.as_str().parse::<TokenName>().as_ref() == Ok(&name));
        assert!(!name.as_str().contains('/') && !name.as_str().starts_with('.'));
    }
    if let Ok(status) = text.parse::<Status>() {
        assert!(status.as_str().eq_ignore_ascii_case(&text));
    }
    if let Some(source) = Source::parse(&text) {
        assert_eq!(Source::parse(&source.to_string()), Some(source));
        assert_eq!(Source::from_bits(source.to_bits()), source);
    }
    let projects = Path::new("/projects");
    let repository = publish::repository(projects, &text);
    assert_eq!(repository.parent(), Some(projects));
    let name = repository.file_name().and_then(|name| name.to_str()).expect("a name");
    assert!(name.len() <= 64 && !name.starts_with('.'));
});
