use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    time::Duration,
};

use tempfile::TempDir;

use super::*;

mod fleet;
mod trust;
mod values;

/// A home with a configuration directory and a separate working directory.
struct Machine {
    root: TempDir,
    environment: Vec<(OsString, OsString)>,
    flags: Flags,
    euid: u32,
}

impl Machine {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        fs::create_dir_all(root.path().join("home/.config/fleet-mcp/conf.d")).unwrap();
        fs::create_dir(root.path().join("work")).unwrap();
        let home = root.path().join("home").into_os_string();
        let environment = vec![("HOME".into(), home)];
        Self { root, environment, flags: Flags::default(), euid: geteuid().as_raw() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    fn mode(self, path: &str, mode: u32) -> Self {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn config(self, text: &str) -> Self {
        self.file("home/.config/fleet-mcp/config.toml", text)
    }

    fn drop_in(self, name: &str, text: &str) -> Self {
        self.file(&format!("home/.config/fleet-mcp/conf.d/{name}"), text)
    }

    fn dotenv(self, text: &str) -> Self {
        self.file("work/.env", text)
    }

    fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, path: &'static str, value: &str) -> Self {
        self.flags.values.push((path, value.to_owned()));
        self
    }

    fn sources(&self) -> Sources {
        Sources {
            environment: self.environment.clone(),
            working_dir: self.path("work"),
            euid: self.euid,
            program: "/usr/bin/fleet-mcp".into(),
            flags: self.flags.clone(),
        }
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        load(&self.sources())
    }

    fn settings(&self) -> Settings {
        self.load().unwrap_or_else(|errors| panic!("{errors}")).settings
    }

    /// The problems, with the root of all paths left out.
    fn problems(&self) -> Vec<String> {
        let root = format!("{}/", self.root.path().display());
        let errors = self.load().expect_err("there are problems");
        errors.to_string().lines().map(|line| line.replace(&root, "")).collect()
    }
}

fn seconds(machine: &Machine) -> u64 {
    machine.settings().http.idle_timeout.as_secs()
}

#[test]
fn every_default_is_valid() {
    let machine = Machine::new();

    let loaded = machine.load().unwrap();

    let settings = loaded.settings;
    assert_eq!(settings.listen, ["127.0.0.1:8000".parse().unwrap()]);
    assert_eq!(settings.state_dir, machine.path("home/.fleet-mcp"));
    assert_eq!(settings.control_socket, machine.path("home/.fleet-mcp/run/control.sock"));
    assert_eq!(settings.auth.token_file, machine.path("home/.fleet-mcp/auth_token"));
    assert!(!settings.auth.enabled);
    assert_eq!(settings.http.max_body_bytes, 4 * 1024 * 1024);
    assert_eq!(settings.http.header_timeout, Duration::from_secs(10));
    assert_eq!(settings.http.body_timeout, Duration::from_secs(30));
    assert_eq!(settings.http.idle_timeout, Duration::from_secs(75));
    assert_eq!(settings.http.shutdown_timeout, Duration::from_secs(10));
    assert_eq!((settings.http.max_connections, settings.http.max_requests), (1024, 256));
    assert_eq!(settings.http.tls, None);
    assert_eq!(settings.log.filter, "info");
    assert_eq!(settings.log.journal_socket, Path::new("/run/systemd/journal/socket"));
    assert_eq!((loaded.origins.len(), loaded.files.len(), loaded.warnings.len()), (0, 0, 0));
}

#[test]
fn later_sources_win() {
    let mut machine = Machine::new().config("http.idle_timeout = 1");
    assert_eq!(seconds(&machine), 1);
    machine = machine.drop_in("20.toml", "http.idle_timeout = 3");
    assert_eq!(seconds(&machine), 3);
    machine = machine.drop_in("10.toml", "http.idle_timeout = 2");
    assert_eq!(seconds(&machine), 3, "conf.d is read by name");
    machine = machine.dotenv("FLEET_MCP_HTTP_IDLE_TIMEOUT=4");
    assert_eq!(seconds(&machine), 4);
    machine = machine.variable("FLEET_MCP_HTTP_IDLE_TIMEOUT", "5");
    assert_eq!(seconds(&machine), 5);
    machine = machine.flag("http.idle_timeout", "6");
    assert_eq!(seconds(&machine), 6);
}

#[test]
fn origins_and_files_tell_where_settings_come_from() {
    let machine = Machine::new()
        .config("\n[http]\nidle_timeout = 1\nmax_requests = 2")
        .drop_in("a.toml", "")
        .dotenv("# first\nFLEET_MCP_LOG=debug")
        .variable("FLEET_MCP_HTTP_MAX_REQUESTS", "3")
        .flag("listen", "127.0.0.1:0");

    let loaded = machine.load().unwrap();

    let config = machine.path("home/.config/fleet-mcp/config.toml");
    let dotenv = machine.path("work/.env");
    let expected = [
        ("http.idle_timeout", Origin::File(config.clone(), 3)),
        ("http.max_requests", Origin::Environment),
        ("listen", Origin::Flag),
        ("log.filter", Origin::Dotenv(dotenv.clone(), 2)),
    ];
    assert_eq!(loaded.origins, BTreeMap::from(expected));
    let drop_in = machine.path("home/.config/fleet-mcp/conf.d/a.toml");
    assert_eq!(loaded.files, [config, drop_in, dotenv]);
}

#[test]
fn the_guides_dotenv_line_with_a_comment_works() {
    let off = Machine::new().dotenv("FLEET_MCP_AUTH_ENABLED=false  # or omit (default)\n");
    let on = Machine::new().dotenv("\u{feff}export FLEET_MCP_AUTH_ENABLED=\"true\"  ");

    assert!(!off.settings().auth.enabled);
    assert!(on.settings().auth.enabled);
}

#[test]
fn unknown_variables_are_refused_without_their_values() {
    let secret = "rQ3vK9pL2mN4oP6qR8sT0uV1wX3yZ5aB7cD9eF1gH3i";
    for (name, hint) in [
        ("FLEET_MCP_AUTH_ENABLE", "did you mean `FLEET_MCP_AUTH_ENABLED`?"),
        ("fleet_mcp_auth_enabled", "did you mean `FLEET_MCP_AUTH_ENABLED`?"),
        ("FLEET_MCP_AUTH_TOKENS", "did you mean `FLEET_MCP_AUTH_TOKEN`?"),
        ("FLEET_MCP_LOG_LEVEL", "did you mean `FLEET_MCP_LOG`?"),
        ("FLEET_MCP_HOST", "remove it"),
        ("FLEET_MCP_PORT", "remove it"),
        ("FLEET_MCP_FROBNICATE", "remove it"),
    ] {
        let problems = Machine::new().variable(name, secret).problems();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with(&format!("{name}: unknown variable; ")), "{problems:?}");
        assert!(problems[0].ends_with(hint), "{problems:?}");
        assert!(!problems[0].contains(secret));
    }
    let problems = Machine::new().dotenv("OTHER=1\n\nFLEET_MCP_AUTH_ENABLE=1").problems();
    assert_eq!(
        problems,
        [
            "work/.env:3: FLEET_MCP_AUTH_ENABLE: unknown variable; did you mean `FLEET_MCP_AUTH_ENABLED`?"
        ]
    );
}

#[test]
fn variables_of_clients_and_orchestrators_are_ignored() {
    let machine = Machine::new()
        .variable("FLEET_MCP_TOKEN", "secret")
        .variable("FLEET_MCP_URL", "http://127.0.0.1:8000")
        .variable("FLEET_MCP_SERVICE_HOST", "10.0.0.1")
        .variable("FLEET_MCP_SERVICE_PORT_HTTP", "8000")
        .variable("FLEET_MCP_PORT", "tcp://10.0.0.1:8000")
        .variable("FLEET_MCP_PORT_8000_TCP_ADDR", "10.0.0.1")
        .variable("MY_FLEET_MCP_X", "1");

    assert_eq!(machine.load().unwrap().origins.len(), 0);
}

#[test]
fn values_that_are_not_utf8_are_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let machine = Machine::new().variable("FLEET_MCP_LOG", OsString::from_vec(vec![b'x', 0xff]));

    assert_eq!(machine.problems(), ["FLEET_MCP_LOG: the value is not UTF-8"]);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    const FILE: &str = "home/.config/fleet-mcp/config.toml";
    for (text, line, key, hint) in [
        ("lisen = '[::1]:0'", 1, "lisen", "did you mean `listen`?"),
        ("\n[auth]\nenable = true", 3, "auth.enable", "did you mean `auth.enabled`?"),
        ("enabled = true", 1, "enabled", "did you mean `auth.enabled`?"),
        ("[http]\nfrobnicate = { a = 1 }", 2, "http.frobnicate", "remove it"),
        ("\"a\\nb\" = 1", 1, "\"a\\nb\"", "remove it"),
        ("[role.a]\nagent = 'demo'", 1, "role", "did you mean `roles`?"),
        (
            "[roles.a]\nproject = []\nagent = 'demo'",
            2,
            "roles.a.project",
            "did you mean `projects`?",
        ),
        ("[projects.\"x y\"]\nrepo = ''", 2, "projects.\"x y\".repo", "did you mean `repository`?"),
    ] {
        let problems = Machine::new().config(text).problems();
        assert_eq!(problems, [format!("{FILE}:{line}: {key}: unknown key; {hint}")], "{text}");
    }
}

#[test]
fn problems_in_files_name_file_line_and_key() {
    for (text, expected) in [
        ("a = \n", "1: "),
        ("\n\nlisten = yes", "3: "),
        ("auth.enabled = true\nauth.enabled = false", "2: duplicate key"),
        ("http = 1", "1: http: is not a table"),
        ("[[auth]]", "1: auth: is not a table"),
        ("projects = []", "1: projects: is not a table"),
        ("\n[projects]\nweb = 'x'", "3: projects.web: is not a table"),
        ("[listen]", "1: listen: a table is not an address"),
        (
            "[http]\n\nmax_connections = 'many'",
            "3: http.max_connections: `many` is not a whole number from 1 to 1000000",
        ),
        ("listen = [\n '[::1]:0',\n 'x',\n 5,\n]", "3: listen: `x` is not an address"),
        ("state_dir = true", "1: state_dir: `true` is not a path"),
    ] {
        let problems = Machine::new().config(text).problems();
        let expected = format!("home/.config/fleet-mcp/config.toml:{expected}");
        assert!(problems[0].starts_with(&expected), "{text}: {problems:?}");
    }
}

#[test]
fn all_problems_of_all_sources_are_told_at_once() {
    let machine = Machine::new()
        .config("lisen = 1\n[auth]\nenabled = 'maybe'")
        .drop_in("a.toml", "x")
        .dotenv("FLEET_MCP_LOG=loud\nbroken line")
        .variable("FLEET_MCP_HTTP_MAX_REQUESTS", "0")
        .flag("http.tls.key", "key.pem");

    let problems = machine.problems();

    for part in [
        "config.toml:1: lisen:",
        "a.toml:1: ",
        "work/.env:2: the line can't be understood",
        "config.toml:3: auth.enabled: `maybe`",
        "FLEET_MCP_HTTP_MAX_REQUESTS: `0` is not a whole number from 1 to 1000000",
        "work/.env:1: FLEET_MCP_LOG: `loud` is not a log filter",
        "--http-tls-key: is set without `http.tls.certificate`; set both or neither",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 7, "{problems:#?}");
}

#[test]
fn dotenv_is_not_read_by_a_service() {
    for name in ["STATE_DIRECTORY", "CONFIGURATION_DIRECTORY"] {
        let machine = Machine::new().dotenv("FLEET_MCP_AUTH_ENABLED=true");
        let directory = machine.path("home");
        let loaded = machine.variable(name, directory).load().unwrap();
        assert!(!loaded.settings.auth.enabled, "{name}");
        assert_eq!(loaded.warnings.len(), 0);
    }
}

#[test]
fn dotenv_whose_values_double_each_other_is_refused_before_it_fills_the_memory() {
    let doubling = "X=0123456789\n".to_owned() + &"X=$X$X\n".repeat(40);
    let at_once = format!("X={}\nFLEET_MCP_LOG={}", "x".repeat(100_000), "${X}".repeat(100_000));
    let many_names: String = (0..1000).map(|n| format!("X{n}=$X\n")).collect();
    let beside = format!("X={}\n{many_names}", "x".repeat(100_000));

    for (text, first, last) in [(doubling, 18, 24), (at_once, 2, 2), (beside, 150, 180)] {
        let problems = Machine::new().dotenv(&text).problems();

        let line = problems[0].strip_prefix("work/.env:").and_then(|rest| rest.split_once(": "));
        let (line, what) = line.expect(&problems[0]);
        assert!((first..=last).contains(&line.parse().unwrap()), "{problems:?}");
        assert!(what.starts_with("`$` stands for other values too often"), "{problems:?}");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}

#[test]
fn dotenv_values_may_stand_for_former_ones() {
    let text = "LEVEL=debug\n".to_owned() + &"# $5\n".repeat(1000) + "FLEET_MCP_LOG=${LEVEL}";

    let loaded = Machine::new().dotenv(&text).load().unwrap();

    assert_eq!(loaded.settings.log.filter.to_string(), "debug");
}

#[test]
fn broken_dotenv_lines_are_named() {
    for (text, lines) in [
        ("x\n", vec![1]),
        ("A=1\n# c\n\nnot a line\nB=2\n=3", vec![4, 6]),
        ("A=1\nB=\"open\nmore\n", vec![2]),
        ("A=\"two\nlines\"\nx y", vec![3]),
    ] {
        let problems = Machine::new().dotenv(text).problems();
        let found: Vec<String> =
            problems.iter().map(|p| p.split(": ").next().unwrap().to_owned()).collect();
        let expected: Vec<String> = lines.iter().map(|line| format!("work/.env:{line}")).collect();
        assert_eq!(found, expected, "{text}: {problems:?}");
    }
    let long = format!("A={}\nFLEET_MCP_LOG=loud", "x".repeat(20_000));
    assert!(Machine::new().dotenv(&long).problems()[0].starts_with("work/.env:2: FLEET_MCP_LOG"));
}

#[test]
fn home_is_expanded_and_relative_paths_start_where_they_are_written() {
    for (text, expected) in [
        ("~", "home"),
        ("~/", "home"),
        ("~/a/b", "home/a/b"),
        ("a", "home/.config/fleet-mcp/a"),
        ("./a/", "home/.config/fleet-mcp/a"),
        ("/a", "/a"),
        ("./~x", "home/.config/fleet-mcp/~x"),
    ] {
        let machine = Machine::new().config(&format!("auth.token_file = '{text}'"));
        assert_eq!(machine.settings().auth.token_file, machine.path(expected), "{text}");
    }
    let machine = Machine::new()
        .variable("FLEET_MCP_STATE_DIR", "state")
        .flag("log.access_file", "~/access.log")
        .config("[projects.a]\nrepository = '~/a'\n[projects.b]\nrepository = 'b.git'");
    let settings = machine.settings();
    assert_eq!(settings.state_dir, machine.path("work/state"));
    assert_eq!(settings.auth.token_file, machine.path("work/state/auth_token"));
    assert_eq!(settings.log.access_file, Some(machine.path("home/access.log")));
    let repository = |at: usize| settings.projects[at].repository.clone().map(PathBuf::from);
    assert_eq!(repository(0), Some(machine.path("home/a")));
    assert_eq!(repository(1), Some(machine.path("home/.config/fleet-mcp/b.git")));
    for text in ["~root/x", "", "a\0b"] {
        let problems = Machine::new().flag("state_dir", text).problems();
        assert!(problems[0].starts_with("--state-dir: "), "{problems:?}");
    }
}

#[test]
fn the_passwd_entry_is_the_home_without_a_variable() {
    let mut machine = Machine::new();
    // Root's own configuration is none of the test's business.
    machine.environment = vec![("XDG_CONFIG_HOME".into(), machine.path("work").into())];
    machine.euid = 0;

    assert_eq!(machine.settings().state_dir, Path::new("/root/.fleet-mcp"));
}

#[test]
fn without_any_home_absolute_paths_are_enough() {
    let mut machine = Machine::new();
    machine.environment.clear();
    machine.euid = 3_999_999_999;
    assert_eq!(
        machine.problems(),
        ["state_dir: there is no home directory to put it in; set it, or HOME"]
    );

    let settings = machine.variable("FLEET_MCP_STATE_DIR", "/srv/fleet").settings();

    assert_eq!(settings.control_socket, Path::new("/srv/fleet/run/control.sock"));
}

#[test]
fn systemds_directories_win_over_those_of_the_user() {
    let machine = Machine::new();
    let machine = machine
        .file("etc/config.toml", "auth.enabled = true")
        .variable("XDG_RUNTIME_DIR", "/run/user/1");
    assert_eq!(machine.settings().control_socket, Path::new("/run/user/1/fleet-mcp/control.sock"));
    let directory = machine.path("etc");

    let settings = machine
        .variable("CONFIGURATION_DIRECTORY", directory)
        .variable("STATE_DIRECTORY", "/var/lib/fleet-mcp:/var/lib/other")
        .variable("RUNTIME_DIRECTORY", "/run/fleet-mcp")
        .settings();

    assert!(settings.auth.enabled);
    assert_eq!(settings.state_dir, Path::new("/var/lib/fleet-mcp"));
    assert_eq!(settings.auth.token_file, Path::new("/var/lib/fleet-mcp/auth_token"));
    assert_eq!(settings.control_socket, Path::new("/run/fleet-mcp/control.sock"));
    let problems = Machine::new().variable("STATE_DIRECTORY", "relative").problems();
    assert_eq!(problems, ["STATE_DIRECTORY: the value is not an absolute path"]);
}

#[test]
fn xdg_config_home_counts_only_if_it_is_absolute() {
    let machine = Machine::new()
        .config("http.idle_timeout = 1")
        .file("xdg/fleet-mcp/config.toml", "http.idle_timeout = 2");
    let machine = machine.variable("XDG_CONFIG_HOME", "xdg");
    assert_eq!(seconds(&machine), 1);
    let directory = machine.path("xdg");

    assert_eq!(seconds(&machine.variable("XDG_CONFIG_HOME", directory)), 2);
}

#[test]
fn a_named_file_replaces_the_usual_one() {
    let mut machine = Machine::new()
        .config("http.idle_timeout = 1\nhttp.max_requests = 7")
        .file("work/my/own.toml", "http.idle_timeout = 2")
        .file("work/my/conf.d/a.toml", "http.body_timeout = 3");
    machine.flags.config = Some("my/own.toml".into());

    let settings = machine.settings();

    assert_eq!(settings.http.idle_timeout, Duration::from_secs(2));
    assert_eq!(settings.http.body_timeout, Duration::from_secs(3));
    assert_eq!(settings.http.max_requests, 256);
    machine.flags.config = Some("missing.toml".into());
    assert!(machine.problems()[0].starts_with("work/missing.toml: can't be read: "));
}

#[test]
fn what_is_no_readable_file_is_refused() {
    let directory = Machine::new();
    fs::create_dir(directory.path("home/.config/fleet-mcp/config.toml")).unwrap();
    assert_eq!(
        directory.problems(),
        ["home/.config/fleet-mcp/config.toml: can't be read: not a regular file"]
    );
    let link = Machine::new();
    symlink("nowhere", link.path("home/.config/fleet-mcp/conf.d/a.toml")).unwrap();
    assert!(link.problems()[0].contains("conf.d/a.toml: can't be read: "));
    let binary = Machine::new().config("");
    fs::write(binary.path("home/.config/fleet-mcp/config.toml"), b"\n\xff").unwrap();
    assert!(binary.problems()[0].ends_with("config.toml:2: the file is not UTF-8"));
    let unreadable = Problem::unreadable(Path::new("/x"), &io::ErrorKind::PermissionDenied.into());
    let help = "/x: can't be read: permission denied; make it readable for the daemon's user";
    assert_eq!(unreadable.to_string(), help);
    let others =
        Machine::new().drop_in("README", "x").drop_in(".#a.toml", "x").drop_in("b.toml~", "x");
    assert_eq!(others.load().unwrap().files.len(), 0);
}
