//! Workspaces: made, confined, published, removed.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use fleet_mcp::{
    app::ports::sessions::{Cause, News},
    fleet::Publication,
};

use super::bench::{AGENT, Bench, git, spec};

fn source(bench: &Bench) -> PathBuf {
    let source = bench.dir.path().join("source");
    fs::create_dir(&source).unwrap();
    git(&source, &["init", "-q"]);
    fs::write(source.join("README"), "hello\n").unwrap();
    git(&source, &["add", "-A"]);
    git(&source, &["commit", "-qm", "first"]);
    source
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn work_that_is_committed_or_not_is_published_and_can_be_fetched() {
    for confine in [false, true] {
        let bench = Bench::with(confine);
        let source = source(&bench);
        let mut spec = spec(
            "cat README; echo one >one; git add one; git commit -qm one; echo two >two; git status -sb; cat",
        );
        spec.repository = Some(source.to_str().unwrap().to_owned());
        let mut session = bench.open(spec);
        assert_eq!(session.said().await, "hello");
        assert_eq!(session.said().await, "## fleet/worker");
        assert_eq!(session.said().await, "?? two");

        session.close(true, 5).await;
        let (news, cause) = session.end().await;

        assert_eq!(cause, Cause::Closed);
        let [News::Published(Publication { repository, branch, commit })] = &news[..] else {
            panic!("{news:?}")
        };
        assert_eq!(branch, "fleet/worker");
        let tip = git(&source, &["ls-remote", repository.to_str().unwrap(), branch]);
        assert!(tip.starts_with(&**commit), "{tip}");
        git(&source, &["fetch", "-q", repository.to_str().unwrap(), branch]);
        let log = git(&source, &["log", "--format=%an %s", "FETCH_HEAD"]);
        assert_eq!(
            log,
            "fleet-mcp What was not committed when the branch was published\nworker one\nt first\n"
        );
        assert_eq!(git(&source, &["show", "FETCH_HEAD:two"]), "two\n");
        assert!(!bench.workspace().exists());
        bench.assert_gone();
    }
}

#[tokio::test]
async fn a_workspace_is_taken_up_again_by_its_agent_and_not_by_another_of_its_name() {
    let bench = Bench::new();
    for expected in ["0", "1"] {
        let mut session = bench.shell("ls | wc -l; touch mine; exec cat");
        assert_eq!(session.said().await, expected);
        session.close(false, 5).await;
        session.end().await;
    }

    let mut other = spec("ls | wc -l");
    other.agent = fleet_mcp::fleet::AgentId(8);
    let mut session = bench.open(other);

    assert_eq!(session.said().await, "0");
    session.end().await;
    let aside = bench.dir.path().join("agents").join(format!("worker~{}", AGENT.0));
    assert!(aside.join("repo/mine").exists());
}

#[tokio::test]
async fn a_hostile_source_runs_nothing() {
    let bench = Bench::new();
    let source = source(&bench);
    let marker = bench.dir.path().join("pwned");
    let script = format!("#!/bin/sh\ntouch {}\n", marker.display());
    let trap = bench.dir.path().join("trap");
    fs::write(&trap, &script).unwrap();
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).unwrap();
    for hook in ["post-checkout", "post-upload-pack", "pre-auto-gc", "reference-transaction"] {
        let path = source.join(".git/hooks").join(hook);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(&trap, path).unwrap();
    }
    symlink("/etc/passwd", source.join("link")).unwrap();
    fs::write(source.join(".gitattributes"), "* filter=evil diff=evil\n").unwrap();
    fs::write(
        source.join(".gitmodules"),
        "[submodule \"x\"]\n\tpath = x\n\turl = ext::touch /tmp/never\n\tupdate = !touch never\n",
    )
    .unwrap();
    git(&source, &["add", "-A"]);
    git(&source, &["commit", "-qm", "evil"]);
    for (key, value) in [
        ("core.fsmonitor", trap.to_str().unwrap()),
        ("filter.evil.smudge", trap.to_str().unwrap()),
        ("uploadpack.packObjectsHook", trap.to_str().unwrap()),
        ("core.hooksPath", ".git/hooks"),
    ] {
        git(&source, &["config", key, value]);
    }
    let mut spec = spec("readlink link; exec cat");
    spec.repository = Some(source.to_str().unwrap().to_owned());
    let _ = fs::remove_file(&marker);

    let mut session = bench.open(spec);
    assert_eq!(session.said().await, "/etc/passwd");
    session.close(true, 5).await;
    let (news, _) = session.end().await;

    assert!(!marker.exists());
    // Nor does it get into the repository that the operator fetches from, and no work is lost.
    let refused = matches!(&news[0], News::NotPublished(why) if why.contains("gitmodulesUpdate"));
    assert!(refused, "{news:?}");
    assert!(bench.workspace().exists());
}

#[tokio::test]
async fn sources_that_are_no_repository_are_refused_with_words() {
    for (source, word) in [
        ("/nowhere/at/all", "/nowhere/at/all"),
        ("--upload-pack=touch pwned", "path or its URL"),
        ("ext::sh -c touch% pwned", "refused"),
    ] {
        let bench = Bench::new();
        let mut spec = spec("cat");
        spec.repository = Some(source.to_owned());

        let (_, cause) = bench.open(spec).end().await;

        assert!(matches!(&cause, Cause::NotOpened(why) if why.contains(word)), "{cause:?}");
        bench.assert_gone();
    }
}

#[tokio::test]
async fn programs_get_a_home_of_their_own_their_credentials_and_an_allow_list_of_variables() {
    let bench = Bench::new();
    let login = bench.dir.path().join("login");
    fs::write(&login, "secret").unwrap();
    let mut spec = spec("env | sort; echo; cat ~/.tool/login; echo; stat -c %a ~/.tool/login");
    spec.program.credentials = vec![(".tool/login".into(), login)];
    spec.program.environment = vec![("API_KEY".to_owned(), "key".to_owned())];

    let (news, _) = bench.open(spec).end().await;

    let said: Vec<String> = news
        .into_iter()
        .filter_map(|news| match news {
            News::Said(entry) => Some(entry.content),
            _ => None,
        })
        .collect();
    let blank = said.iter().position(String::is_empty).unwrap();
    assert_eq!(said[blank + 1..], ["secret", "600"]);
    let names: Vec<&str> = said[..blank].iter().filter_map(|line| line.split('=').next()).collect();
    let allowed = [
        "API_KEY",
        "FLEET_MCP_AGENT_HOST",
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "PWD",
        "SHELL",
        "SHLVL",
        "TERM",
        "TMPDIR",
        "TZ",
        "USER",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "_",
        "OLDPWD",
    ];
    for name in &names {
        assert!(allowed.contains(name) || name.starts_with("LC_"), "{name}");
    }
    let home = bench.workspace().join("home");
    assert!(said.contains(&format!("HOME={}", home.display())));
    assert!(names.contains(&"API_KEY"));
    assert_eq!((mode(&bench.workspace()), mode(&home)), (0o700, 0o700));
}

#[tokio::test]
async fn of_equal_variables_the_roles_counts_then_the_files_then_the_programs() {
    let bench = Bench::new();
    let file = bench.dir.path().join("role.env");
    fs::write(&file, "SHARED=file\nFILE=file\nROLE=file\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut spec = spec("echo $SHARED $FILE $ROLE $OWN; exec cat");
    spec.program.environment = vec![pair("SHARED", "program"), pair("OWN", "program")];
    spec.program.environment_file = Some(file.clone());
    spec.program.overrides = vec![pair("ROLE", "role")];

    let mut session = bench.open(spec.clone());
    assert_eq!(session.said().await, "file file role program");
    session.close(false, 5).await;
    session.end().await;

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let (_, cause) = bench.open(spec).end().await;
    let shown = file.display().to_string();
    assert!(matches!(&cause, Cause::NotOpened(why) if why.contains(&shown)), "{cause:?}");
    bench.assert_gone();
}

#[tokio::test]
async fn a_confined_program_sees_its_workspace_and_no_other_state() {
    let bench = Bench::with(true);
    fs::write(bench.dir.path().join("auth_token"), "secret").unwrap();
    let script = format!(
        "cat {0}/auth_token; ls {0}; ls /root /home; echo x >/tmp/fleet-mcp-escaped; \
         kill -0 $PPID; rm -rf ../agent; ls ../repo ~ >/dev/null && echo here >file && mktemp >/dev/null && \
         git --version >/dev/null && echo x >/dev/null && cat file",
        bench.dir.path().display()
    );

    let (news, cause) = bench.shell(&script).end().await;

    let said = |out: bool| -> Vec<&str> {
        let entries = news.iter().filter_map(|news| match news {
            News::Said(e) if (e.kind == fleet_mcp::fleet::EntryKind::Message) == out => Some(e),
            _ => None,
        });
        entries.map(|entry| entry.content.as_str()).collect()
    };
    assert!(bench.confine);
    if said(true).contains(&"secret") {
        // This kernel has no Landlock: what is claimed here can't be tested on it.
        eprintln!("skipped: the kernel has no Landlock");
        return;
    }
    assert_eq!(cause, Cause::Exited(0), "{news:?}");
    assert_eq!(said(true), ["here"]);
    assert!(said(false).len() >= 6, "{news:?}");
    assert!(!Path::new("/tmp/fleet-mcp-escaped").exists());
}
