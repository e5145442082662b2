//! What the documents say about settings, events, files and tests, against the program and the tree.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use fleet_mcp::{
    app::{
        audit::KINDS,
        metrics::{Desc, Kind, TABLE},
    },
    config::{AGENTS, KEYS, PROJECTS, ROLES},
};

/// Variables with our prefix that are no settings: what clients call the token and the URL, and the
/// primary token itself.
const NO_SETTINGS: [&str; 3] = ["FLEET_MCP_TOKEN", "FLEET_MCP_URL", "FLEET_MCP_AUTH_TOKEN"];

#[test]
fn every_setting_is_in_the_table_with_its_default() {
    let text = read("docs/configuration.md");

    for key in KEYS {
        let default = key.default.to_string();
        let row = format!("| `{}` | `{}` | {default} | {} |", key.variable, key.path, key.help);
        assert!(text.contains(&row), "docs/configuration.md lacks the row\n{row}");
    }
    for table in [PROJECTS, AGENTS, ROLES] {
        for field in table.fields {
            let named = text.contains(&format!("\n{} = ", field.name));
            assert!(named, "docs/configuration.md does not show {} of {}", field.name, table.name);
        }
    }
}

#[test]
fn every_metric_is_in_the_table_of_metrics_and_no_other() {
    let text = read("docs/metrics.md");
    let row = |desc: &Desc| {
        let total = if desc.kind == Kind::Counter { "_total" } else { "" };
        let labels = desc.labels.split(' ').filter(|label| !label.is_empty());
        let labels: Vec<_> = labels.map(|label| format!("`{label}`")).collect();
        let (name, kind) = (desc.name, desc.kind.as_str());
        format!("| `{name}{total}` | {kind} | {} | {} |", labels.join(", "), desc.help)
    };
    let rows: Vec<_> = TABLE.iter().map(row).collect();

    for row in &rows {
        assert!(text.contains(row), "docs/metrics.md lacks the row\n{row}");
    }
    let is_row = |line: &&str| line.starts_with("| `fleet_mcp_") || line.starts_with("| `process_");
    assert_eq!(text.lines().filter(is_row).count(), rows.len(), "docs/metrics.md has too many");
}

#[test]
fn every_event_is_in_the_table_of_the_operators() {
    let text = read("docs/operating.md");

    for kind in KINDS {
        let named = format!("`{}`", kind.event);
        assert!(text.contains(&named), "docs/operating.md lacks the event {named}");
    }
}

#[test]
fn no_document_names_a_variable_that_does_not_exist() {
    let known: BTreeSet<_> = KEYS.iter().map(|key| key.variable).chain(NO_SETTINGS).collect();
    for (file, text) in documents() {
        // The configuration page shows what a slip of the pen is answered.
        let text = text.replace("FLEET_MCP_AUTH_ENABELD", "");
        for (at, _) in text.match_indices("FLEET_MCP_") {
            let part_of_variable = |c: &char| c.is_ascii_uppercase() || *c == '_';
            let name: String = text[at..].chars().take_while(part_of_variable).collect();
            let is_pattern = name.ends_with('_');

            assert!(is_pattern || known.contains(&*name), "{}: {name}", file.display());
        }
    }
}

#[test]
fn the_forms_in_the_documents_are_those_that_fleetctl_prints() {
    let fleetctl = |arguments: &[&str]| {
        let program = env!("CARGO_BIN_EXE_fleetctl");
        let output = Command::new(program).env_clear().args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (page, readme) = (read("docs/clients.md"), read("README.md"));
    let help = fleetctl(&["client-config", "--help"]);
    let clients = help.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split(':').next());
    let clients: Vec<_> = clients.collect();

    assert!(clients.contains(&"claude-code"), "{help}");
    for client in clients {
        let url = ["client-config", client, "--url", "https://fleet-mcp.example.com"];
        let form = fleetctl(&url);
        assert!(page.contains(&form), "docs/clients.md lacks the form of {client}:\n{form}");
        if ["claude-code", "codex", "openai-agents"].contains(&client) {
            assert!(readme.contains(form.trim_end()), "README.md has another form of {client}");
        }
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for (file, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if path.contains("://") {
                continue;
            }
            let target = match path {
                "" => file.clone(),
                path => file.parent().unwrap().join(path),
            };
            let found = fs::read(&target);
            let found = found.unwrap_or_else(|_| panic!("{}: {link}", file.display()));
            // A picture is no text, and has no headings.
            let found = String::from_utf8_lossy(&found);
            let anchors: Vec<_> = found.lines().filter_map(heading).collect();
            let leads = anchor.is_empty() || anchors.iter().any(|known| known == anchor);

            assert!(leads, "{}: there is no #{anchor} in {}", file.display(), target.display());
        }
    }
}

#[test]
fn every_test_that_a_document_names_exists() {
    let sources = rust_files("src").into_iter().chain(rust_files("tests"));
    let all: String = sources.map(|path| fs::read_to_string(path).unwrap()).collect();
    for (file, text) in documents() {
        for (path, name) in text.split('`').skip(1).step_by(2).filter_map(claim) {
            let exists = !is_checked(path) || all.contains(&format!("fn {name}("));

            assert!(exists, "{}: there is no test {path}::{name}", file.display());
        }
    }
}

#[test]
fn every_event_is_explained_in_the_journal_catalog() {
    let catalog = read("packaging/fleet-mcp.catalog");

    let is_id = |text: &&str| text.len() == 32;
    let ids = catalog.lines().filter_map(|line| line.strip_prefix("-- ")).filter(is_id);
    let explained: Vec<_> = ids.collect();

    for kind in KINDS {
        let times = explained.iter().filter(|id| **id == kind.message_id).count();
        assert_eq!(times, 1, "packaging/fleet-mcp.catalog: {} {}", kind.event, kind.message_id);
    }
    assert_eq!(explained.len(), KINDS.len(), "it explains an event that does not exist");
    assert_eq!(catalog.matches("\nSubject: ").count(), KINDS.len());
}

#[test]
fn journal_catalog_names_only_fields_that_entries_have() {
    let source = read("src/app/audit.rs");

    for field in read("packaging/fleet-mcp.catalog").split('@').skip(1).step_by(2) {
        assert!(source.contains(&format!("{field} = ")), "no event has {field}");
    }
}

/// `("rotation", "old_secret_is_refused")` of `rotation::old_secret_is_refused`. Claims are
/// sentences, so what has fewer than three words is none.
fn claim(quoted: &str) -> Option<(&str, &str)> {
    let (path, name) = quoted.rsplit_once("::")?;
    let is_claim = name.matches('_').count() >= 2
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    is_claim.then_some((path, name))
}

/// Whether a test of this path is a unit test, or in a module of `tests/it` that is there.
fn is_checked(path: &str) -> bool {
    let mut modules = path.split("::").peekable();
    let file = root().join("tests/it").join(modules.peek().unwrap()).with_extension("rs");
    file.exists() || modules.any(|module| module == "tests")
}

/// What a heading's anchor is, if the line is one.
fn heading(line: &str) -> Option<String> {
    let title = line.starts_with('#').then(|| line.trim_start_matches('#').trim())?;
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    Some(
        title.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect(),
    )
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// All Markdown of the package, with its path.
fn documents() -> Vec<(PathBuf, String)> {
    let directories = [root(), root().join("docs"), root().join("docs/adr")];
    let paths = directories.iter().flat_map(|directory| files(directory, "md"));
    paths.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

fn rust_files(directory: &str) -> Vec<PathBuf> {
    let mut open = vec![root().join(directory)];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        found.extend(files(&directory, "rs"));
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        open.extend(entries.filter(|path| path.is_dir()));
    }
    found
}
