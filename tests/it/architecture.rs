//! The direction of imports and the other rules about names, read from the sources.
//!
//! The scanner knows enough Rust to find every path: it leaves out comments and texts, expands
//! `use` trees, and follows `super`. A path that a macro puts together escapes it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Which modules of ours each module may name, besides itself. One that is missing here fails.
const MAY_USE: &[(&str, &str)] = &[
    ("lib", ""),
    ("exit", ""),
    ("auth", ""),
    ("fleet", ""),
    ("app", "auth fleet"),
    ("tools", "auth fleet app"),
    ("agents", "auth fleet app"),
    ("config", "auth fleet app"),
    ("control", "auth fleet app tools"),
    ("http", "auth fleet app tools"),
    ("log", "auth fleet app"),
    ("stores", "auth fleet app"),
    ("systemd", "auth fleet app"),
    ("doctor", "auth fleet app agents config stores"),
    ("cli", "exit auth fleet app config control doctor"),
    ("daemon", "exit auth fleet app agents config control doctor http log stores systemd"),
    ("bin", "exit cli daemon"),
];

/// Names that may not be used in some places. Lists are separated by blanks.
struct Ban {
    /// Files or directories in `src`; an empty text is all of it.
    places: &'static [&'static str],
    names: &'static str,
    /// Names, or files, that are allowed all the same.
    except: &'static str,
    why: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        places: &["auth", "fleet"],
        names: "std::fs std::io std::net std::os std::env std::process std::thread \
                std::time::Instant std::time::SystemTime jiff::Timestamp::now jiff::Zoned nix rand \
                tokio tokio_util futures_util tracing",
        except: "std::net::IpAddr std::net::Ipv4Addr std::net::Ipv6Addr std::net::SocketAddr",
        why: "the core has no I/O, clock, randomness or runtime",
    },
    Ban {
        places: &["app"],
        names: "std::fs std::os std::env std::process nix",
        except: "app/sync/modelled.rs",
        why: "the use cases reach the machine through ports",
    },
    Ban {
        places: &["auth", "fleet", "app"],
        names: "axum clap http http_body http_body_util hyper hyper_util rmcp rustls_pki_types \
                sd_notify tokio_rustls toml tower tracing_subscriber",
        except: "",
        why: "what is outside is named by the edges only",
    },
    Ban {
        places: &["auth", "fleet", "app"],
        names: "serde serde_json schemars",
        except: "",
        why: "domain types are not serialized; the control API, the tools and the files have own ones",
    },
    Ban { places: &[""], names: "rmcp", except: "http/mcp/", why: "rmcp is at home in http/mcp" },
    Ban {
        places: &[""],
        names: "process::exit process::abort std::process::exit std::process::abort",
        except: "",
        why: "destructors must run; return an `Exit`",
    },
    Ban {
        places: &[""],
        names: "anyhow",
        except: "daemon cli",
        why: "only the programs may have errors without a type",
    },
];

/// No file is longer, tests included.
const MAX_LINES: usize = 500;

#[test]
fn every_module_names_only_what_its_band_may() {
    let sources = sources("src");
    assert!(sources.len() > 50, "the sources were not found");

    let broken: Vec<_> = sources.iter().flat_map(|(file, text)| violations(file, text)).collect();

    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn no_file_is_too_long_to_read() {
    for (file, text) in sources("src").into_iter().chain(sources("tests")) {
        let lines = text.lines().count();

        assert!(lines <= MAX_LINES, "{}: {lines} lines, at most {MAX_LINES}", file.display());
    }
}

#[test]
fn a_planted_violation_is_found_where_it_stands() {
    let found = |file: &str, text: &str| violations(Path::new(file), text);

    let nested = found("auth/token.rs", "use std::{\n    fmt,\n    fs::{self, File},\n};\n");
    assert_eq!(nested.len(), 2, "{nested:?}"); // the module and what is taken from it
    assert!(nested[0].starts_with("src/auth/token.rs:3: `std::fs`: the core has no I/O"));
    for (file, text) in [
        ("http/plain.rs", "use crate::{app::App, stores::TokenFile};"),
        ("control/peer.rs", "use super::super::http::server::Server;"),
        ("app/mod.rs", "fn f() { crate::daemon::main(); }"),
        ("auth/header.rs", "fn f() { tokio::spawn(async {}); }"),
        ("auth/source.rs", "use std::net::TcpStream;"),
        ("fleet/role.rs", "#[derive(serde::Serialize)] struct Role;"),
        ("http/server.rs", "use rmcp::model;"),
        ("daemon/mod.rs", "use std::process; fn f() { process::exit(1) }"),
        ("stores/mod.rs", "use crate::exit::Exit;"),
        ("cli/mod.rs", "use crate::daemon;"),
        ("brand_new/mod.rs", "use crate::app;"),
    ] {
        assert_eq!(found(file, text).len(), 1, "{file}: {text}");
    }
}

#[test]
fn what_is_no_violation_is_not_taken_for_one() {
    for (file, text) in [
        ("auth/header.rs", "//! std::fs\n/* tokio::spawn */ const A: &str = \"axum::Router\";"),
        (
            "auth/header.rs",
            "const B: &str = r#\"use \"std::fs\"\"#; const C: u8 = b'\"'; // hyper::",
        ),
        ("auth/source.rs", "use std::net::{IpAddr, Ipv6Addr}; use std::time::Duration;"),
        (
            "auth/token.rs",
            "fn f<'a>(now: &'a jiff::Timestamp) { self.http.rmcp(now); super::scope::g() }",
        ),
        ("app/tokens.rs", "use crate::auth::{Digest, Secret}; use super::ports; use std::io;"),
        ("http/mcp/mod.rs", "use rmcp::ServerHandler; use crate::app::App;"),
        ("daemon/mod.rs", "use crate::{exit::Exit, http::tls, config as settings};"),
    ] {
        assert_eq!(violations(Path::new(file), text), [""; 0], "{file}: {text}");
    }
}

/// All Rust files below a directory of the package, with their paths in it.
fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut open = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// What a file of `src` names and may not: file, line, name, rule.
fn violations(file: &Path, text: &str) -> Vec<String> {
    let module = module_of(file);
    let Some((own, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module[1]) else {
        return vec![format!("src/{}: its module has no row in MAY_USE", file.display())];
    };
    let mut found = Vec::new();
    for (line, path) in paths(&tokens(text)) {
        let path = absolute(&path, &module);
        let mut tell = |name: &str, why: &str| {
            found.push(format!("src/{}:{line}: `{name}`: {why}", file.display()));
        };
        if let Some(other) = top_module(&path)
            && other != *own
            && !allowed.split(' ').any(|name| name == other)
        {
            tell(&format!("crate::{other}"), "imports point one way, docs/adr/0001-bands.md");
        }
        for ban in BANS.iter().filter(|ban| ban.places.iter().any(|place| file.starts_with(place)))
        {
            let is = |name: &&str| begins_with(&path, name);
            let mut exceptions = ban.except.split_whitespace();
            if exceptions.any(|name| file.starts_with(name) || is(&name)) {
                continue;
            }
            if let Some(name) = ban.names.split_whitespace().find(is) {
                tell(name, ban.why);
            }
        }
    }
    found
}

/// Which module of ours a path leads into.
fn top_module(path: &[String]) -> Option<&'static str> {
    let [root, module, ..] = path else { return None };
    let ours = matches!(root.as_str(), "crate" | "fleet_mcp");
    MAY_USE.iter().map(|(name, _)| *name).find(|name| ours && name == module)
}

fn begins_with(path: &[String], name: &str) -> bool {
    let mut segments = path.iter();
    name.split("::").all(|part| segments.next().is_some_and(|segment| segment == part))
}

/// `["crate", "http", "tools"]` for `http/tools/mod.rs`.
fn module_of(file: &Path) -> Vec<String> {
    let inside = file.with_extension("");
    let parts = inside.iter().map(|part| part.to_str().unwrap().to_owned());
    let mut module: Vec<_> = std::iter::once("crate".to_owned()).chain(parts).collect();
    if module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    module
}

/// Resolves `self` and `super` at the start; what an inner module calls `super` is taken for the
/// file's, which is never further out than it is.
fn absolute(path: &[String], module: &[String]) -> Vec<String> {
    let ups = path.iter().take_while(|segment| *segment == "super").count();
    match path.first().map(String::as_str) {
        Some("self") => [module, &path[1..]].concat(),
        Some("super") => [&module[..module.len().saturating_sub(ups)], &path[ups..]].concat(),
        _ => path.to_owned(),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    line: usize,
    text: String,
}

/// Names, `::` and single characters, without comments, texts and blanks.
fn tokens(text: &str) -> Vec<Token> {
    let characters: Vec<char> = text.chars().collect();
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    let (mut tokens, mut index, mut line) = (Vec::new(), 0, 1);
    while index < characters.len() {
        let start = index;
        let word = |c: char| c.is_alphanumeric() || c == '_';
        match (at(index), at(index + 1)) {
            ('/', '/') => index += characters[index..].iter().take_while(|c| **c != '\n').count(),
            ('/', '*') => index = end_of_comment(&characters, index),
            ('r', '"' | '#') if raw_text(&characters, index).is_some() => {
                index = raw_text(&characters, index).unwrap();
            }
            ('"', _) => index = end_of_text(&characters, index),
            ('\'', '\\') => {
                index += 3 + characters[index + 3..].iter().take_while(|c| **c != '\'').count()
            }
            ('\'', _) if at(index + 2) == '\'' => index += 3,
            (':', ':') => index += 2,
            (c, _) if word(c) => {
                index += characters[index..].iter().take_while(|c| word(**c)).count()
            }
            _ => index += 1,
        }
        let piece: String = characters[start..index.min(characters.len())].iter().collect();
        let is_code =
            !piece.trim().is_empty() && !piece.contains('"') && !piece.starts_with(['\'']);
        if is_code && !piece.starts_with("//") && !piece.starts_with("/*") {
            tokens.push(Token { line, text: piece.clone() });
        }
        line += piece.matches('\n').count();
    }
    tokens
}

fn end_of_comment(characters: &[char], start: usize) -> usize {
    let (mut depth, mut index) = (0_usize, start);
    while index < characters.len() {
        match characters[index..] {
            ['/', '*', ..] => (depth, index) = (depth + 1, index + 2),
            ['*', '/', ..] => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    index
}

fn end_of_text(characters: &[char], start: usize) -> usize {
    let mut index = start + 1;
    while index < characters.len() && characters[index] != '"' {
        index += if characters[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// Where the raw text that starts here ends, if one does.
fn raw_text(characters: &[char], start: usize) -> Option<usize> {
    let hashes = characters[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    (characters.get(open) == Some(&'"')).then_some(())?;
    let closed = |index: &usize| {
        characters[*index] == '"'
            && characters[index + 1..].iter().take_while(|c| **c == '#').count() >= hashes
    };
    (open + 1..characters.len()).find(closed).map(|index| index + 1 + hashes)
}

/// Every path of two segments or more, and every single name that a `use` names, with its line.
fn paths(tokens: &[Token]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        if tokens[index].text == "use" {
            index = expand(tokens, index + 1, &[], &mut found);
            continue;
        }
        let mut path = Vec::new();
        let line = tokens[index].line;
        let continues = index > 0 && matches!(tokens[index - 1].text.as_str(), "." | "::");
        while is_name(tokens.get(index)) {
            path.push(tokens[index].text.clone());
            index += 1;
            if tokens.get(index).is_none_or(|token| token.text != "::") {
                break;
            }
            index += 1;
        }
        match path.len() {
            0 => index += 1,
            1 => {}
            _ if continues => {}
            _ => found.push((line, path)),
        }
    }
    found
}

fn is_name(token: Option<&Token>) -> bool {
    token.is_some_and(|token| token.text.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}

/// Adds every path of a `use` tree; returns where it ends.
fn expand(
    tokens: &[Token],
    mut index: usize,
    prefix: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(index) {
        match token.text.as_str() {
            "::" => {}
            "as" => index += 1,
            "{" => {
                index += 1;
                while tokens.get(index).is_some_and(|token| token.text != "}") {
                    index = expand(tokens, index, &path, found);
                    index += usize::from(tokens.get(index).is_some_and(|token| token.text == ","));
                }
                return index + 1;
            }
            "self" if !prefix.is_empty() => {}
            name if is_name(Some(token)) || name == "*" => path.push(name.to_owned()),
            _ => break,
        }
        index += 1;
    }
    if let Some(token) = tokens.get(index.saturating_sub(1)) {
        found.push((token.line, path));
    }
    index
}
