//! Projects, agent programs and roles.

use jiff::SignedDuration;

use super::*;
use crate::{
    app::settings::FleetSettings,
    fleet::{Driver, FleetToken, Limits, Permissions, Program, Project, Role, program::KNOWN},
};

const FILE: &str = "home/.config/fleet-mcp/config.toml";

impl Machine {
    /// Puts an executable file into the directory that is all of PATH.
    fn installed(self, name: &str) -> Self {
        let path = self.path("bin");
        self.file(&format!("bin/{name}"), "")
            .mode(&format!("bin/{name}"), 0o755)
            .variable("PATH", path)
    }

    fn program(&self, name: &str) -> Program {
        let programs = self.settings().programs;
        programs.into_iter().find(|program| program.name == name).expect("a program of that name")
    }

    fn role(&self, name: &str) -> Role {
        let roles = self.settings().roles;
        roles.into_iter().find(|role| role.name == name).expect("a role of that name")
    }

    /// The warnings, with the root of all paths left out.
    fn warnings(&self) -> Vec<String> {
        let root = format!("{}/", self.root.path().display());
        let warnings = self.load().unwrap().warnings;
        warnings.into_iter().map(|warning| warning.replace(&root, "")).collect()
    }
}

fn names<T>(all: &[T], name: impl Fn(&T) -> &String) -> Vec<&str> {
    all.iter().map(|one| name(one).as_str()).collect()
}

fn role(name: &str, agent: &str) -> Role {
    Role {
        name: name.into(),
        description: String::new(),
        projects: Vec::new(),
        default: false,
        agent: agent.into(),
        prompt: None,
        mode: None,
        model: None,
        permissions: Permissions::Ask,
        fleet_token: FleetToken::Off,
        environment: Vec::new(),
        environment_file: None,
        credentials: Vec::new(),
    }
}

#[test]
fn the_fleet_has_limits_by_default() {
    let fleet = Machine::new().settings().fleet;

    let expected = FleetSettings {
        slots: None,
        max_agents: 64,
        max_tasks: 16,
        max_log_bytes: 16 * 1024 * 1024,
        close_grace_secs: 5,
        limits: Limits {
            turn: SignedDuration::from_hours(1),
            silence: SignedDuration::from_mins(15),
            answer: SignedDuration::from_mins(10),
            cancel: SignedDuration::from_secs(10),
            opening: SignedDuration::from_mins(2),
        },
    };
    assert_eq!(fleet, expected);
}

#[test]
fn limits_come_from_every_source() {
    let fleet = Machine::new()
        .config("[fleet]\nmax_agents = 2\nmax_log = '1 MiB'\nanswer_timeout = '30s'")
        .variable("FLEET_MCP_FLEET_TURN_TIMEOUT", "250ms")
        .variable("FLEET_MCP_FLEET_CLOSE_GRACE", "1m")
        .flag("fleet.max_tasks", "3")
        .settings()
        .fleet;

    assert_eq!((fleet.max_agents, fleet.max_tasks, fleet.max_log_bytes), (2, 3, 1024 * 1024));
    assert_eq!(fleet.close_grace_secs, 60);
    assert_eq!(fleet.limits.turn, SignedDuration::from_millis(250));
    assert_eq!(fleet.limits.answer, SignedDuration::from_secs(30));
}

#[test]
fn without_configuration_there_is_a_demonstration_in_a_scratch_project() {
    let machine = Machine::new();

    let settings = machine.settings();

    let scratch = Project {
        name: "scratch".into(),
        description: "An empty directory for each agent".into(),
        repository: None,
    };
    assert_eq!(settings.projects, [scratch]);
    let demo = Program {
        name: "demo".into(),
        driver: Driver::Acp,
        command: "/usr/bin/fleet-mcp".into(),
        arguments: vec!["demo-agent".into()],
        environment: Vec::new(),
    };
    assert_eq!(settings.programs, [demo]);
    let description = "A demonstration that needs no account".into();
    assert_eq!(settings.roles, [Role { description, default: true, ..role("demo", "demo") }]);
}

#[test]
fn known_programs_on_path_come_with_a_role() {
    let machine = Machine::new().installed("gemini");

    let gemini = machine.program("gemini");

    assert_eq!(gemini.command, machine.path("bin/gemini"));
    assert_eq!(gemini.arguments, ["--acp"]);
    let description = "Gemini CLI".into();
    let expected = Role { description, default: true, ..role("gemini", "gemini") };
    assert_eq!(machine.role("gemini"), expected);
    assert!(!machine.role("demo").default);
}

#[test]
fn the_default_role_is_the_first_known_program_that_is_installed() {
    let mut machine = Machine::new();
    for name in ["goose", "gemini", "opencode", "codex", "claude"] {
        let known = KNOWN.iter().find(|known| known.name == name).unwrap();
        machine = machine.installed(known.command);

        let roles = machine.settings().roles;

        let default: Vec<_> = roles.into_iter().filter(|role| role.default).collect();
        assert_eq!(names(&default, |role| &role.name), [name]);
    }
    assert_eq!(machine.settings().programs.len(), KNOWN.len() + 1, "all known ones were tried");
}

#[test]
fn only_executable_files_in_absolute_directories_of_path_are_found() {
    let found = |machine: &Machine| machine.settings().programs.len() > 1;
    assert!(found(&Machine::new().installed("goose")));
    assert!(!found(&Machine::new().installed("goose").mode("bin/goose", 0o644)));
    assert!(!found(
        &Machine::new().file("work/goose", "").mode("work/goose", 0o755).variable("PATH", ":.")
    ));
    let directory = Machine::new().installed("other");
    fs::create_dir(directory.path("bin/goose")).unwrap();
    assert!(!found(&directory));
    let second = Machine::new().installed("goose");
    let path = format!("/nonexistent:{}", second.path("bin").display());
    assert!(found(&second.variable("PATH", path)));
}

#[test]
fn what_is_configured_replaces_what_comes_by_itself() {
    let machine = Machine::new().installed("goose").installed("codex-acp").config(
        "[projects.web]\n[agents.Goose]\ncommand = '/opt/goose'\n[roles.dev]\nagent = 'goose'",
    );

    let settings = machine.settings();

    assert_eq!(names(&settings.projects, |project| &project.name), ["web"]);
    assert_eq!(names(&settings.programs, |program| &program.name), ["Goose", "codex", "demo"]);
    assert_eq!(machine.program("Goose").command, Path::new("/opt/goose"));
    assert_eq!(settings.roles, [role("dev", "Goose")]);
}

#[test]
fn configured_programs_have_a_role_while_no_role_is_configured() {
    let machine = Machine::new().config("[agents.mine]\ncommand = '/opt/mine'");

    let description = "The agent program mine".into();
    assert_eq!(machine.role("mine"), Role { description, ..role("mine", "mine") });
    assert!(machine.role("demo").default);
}

#[test]
fn agent_programs_have_driver_command_arguments_and_variables() {
    let machine = Machine::new().config(
        "[agents.a]\ndriver = 'command'\ncommand = './a.sh'\nargs = ['-c', \"x, y\\nz\", '{task}', '']\n\
         environment = { B = 'b, c', _A1 = '' }\n[agents.b]\ncommand = '~/b'",
    );

    let expected = Program {
        name: "a".into(),
        driver: Driver::Command,
        command: machine.path("home/.config/fleet-mcp/a.sh"),
        arguments: ["-c", "x, y\nz", "{task}", ""].map(str::to_owned).into(),
        environment: vec![("B".into(), "b, c".into()), ("_A1".into(), String::new())],
    };
    assert_eq!(machine.program("a"), expected);
    assert_eq!(machine.program("b").command, machine.path("home/b"));
    assert_eq!(machine.program("b").driver, Driver::Acp);
}

#[test]
fn a_command_that_is_not_on_path_yet_is_a_warning() {
    let machine = Machine::new().installed("there").config(
        "[agents.a]\ncommand = 'missing'\n[agents.b]\ncommand = 'there'\n[agents.c]\ncommand = '/no/c'",
    );

    let expected = format!(
        "{FILE}:2: agents.a.command: `missing` is not on PATH; install it, or write its path"
    );
    assert_eq!(machine.warnings(), [expected]);
    assert_eq!(machine.program("b").command, Path::new("there"), "found at each start");
}

#[test]
fn roles_say_how_agents_work() {
    let machine = Machine::new().config(
        "[roles.dev]\nagent = 'DEMO'\ndescription = 'd'\nprompt = '''\nBe brief.\n\tReally.'''\n\
         mode = 'plan'\nmodel = ''\npermissions = 'allow'\nenvironment_file = 'dev.env'\n\
         [roles.dev.environment]\nKEY = \"a\\nb\"\n\
         [roles.dev.credentials]\n'.claude/.credentials.json' = '~/c.json'\nb = 'b'",
    );

    let directory = |name: &str| machine.path("home/.config/fleet-mcp").join(name);
    let expected = Role {
        description: "d".into(),
        prompt: Some("Be brief.\n\tReally.".into()),
        mode: Some("plan".into()),
        permissions: Permissions::Allow,
        environment: vec![("KEY".into(), "a\nb".into())],
        environment_file: Some(directory("dev.env")),
        credentials: vec![
            (".claude/.credentials.json".into(), machine.path("home/c.json")),
            ("b".into(), directory("b")),
        ],
        ..role("dev", "demo")
    };
    assert_eq!(machine.role("dev"), expected);
    assert_eq!(machine.warnings().len(), 0);
    let deny = Machine::new().config("[roles.a]\nagent = 'demo'\npermissions = 'deny'");
    assert_eq!(deny.role("a").permissions, Permissions::Deny);
}

#[test]
fn environment_file_that_others_can_use_is_a_warning() {
    for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
        let machine = Machine::new()
            .config("[roles.a]\nagent = 'demo'\nenvironment_file = '../a.env'")
            .file("home/.config/a.env", "KEY=hunter2")
            .mode("home/.config/a.env", mode);

        let warnings = machine.warnings();

        assert_eq!(warnings.len(), usize::from(warned), "{mode:o}");
        for warning in warnings {
            assert!(
                warning.starts_with(&format!("{FILE}:3: roles.a.environment_file: others can use"))
            );
            assert!(warning.ends_with(&format!("(mode {mode:04o}); run `chmod 600` on it")));
        }
    }
}

#[test]
fn sections_are_merged_key_by_key_and_so_are_their_tables() {
    let machine = Machine::new()
        .config(
            "[projects.Web]\nrepository = 'git@example.com:web.git'\ndescription = 'old'\n\
             [agents.a]\ncommand = '/a'\nargs = ['x', 'y']\nenvironment = { A = '1', B = '1' }\n\
             [roles.dev]\nagent = 'a'\ndefault = true\ncredentials = { a = 'a' }",
        )
        .drop_in(
            "a.toml",
            "[projects.Web]\ndescription = 'new'\n\
             [agents.a]\nargs = ['z']\nenvironment = { B = '2', C = '2' }\n\
             [roles.dev]\ncredentials = { b = 'b' }\n\
             [roles.review]\nagent = 'demo'\nprojects = ['web']",
        );

    let settings = machine.settings();

    let web = Project {
        name: "Web".into(),
        description: "new".into(),
        repository: Some("git@example.com:web.git".into()),
    };
    assert_eq!(settings.projects, [web]);
    let a = machine.program("a");
    assert_eq!(a.arguments, ["z"]);
    let environment = [("A", "1"), ("B", "2"), ("C", "2")];
    assert_eq!(a.environment, environment.map(|(name, value)| (name.into(), value.into())));
    let directory = machine.path("home/.config/fleet-mcp");
    let credentials =
        vec![("a".into(), directory.join("a")), ("b".into(), directory.join("conf.d/b"))];
    let dev = Role { default: true, credentials, ..role("dev", "a") };
    let review = Role { projects: vec!["Web".into()], ..role("review", "demo") };
    assert_eq!(settings.roles, [dev, review]);
}

#[test]
fn wrong_sections_are_refused() {
    let long = format!("[projects.{}]", "x".repeat(65));
    let prompt = format!("[roles.a]\nagent = 'demo'\nprompt = '{}'", "x".repeat(65_537));
    for (text, expected) in [
        ("[projects.a]\n[projects.A]", "differs from `A` by upper and lower case only"),
        (
            "[roles.'']\nagent = 'demo'",
            "an empty text is not a name of 1 to 64 printable characters",
        ),
        ("[roles.\"a\\tb\"]\nagent = 'demo'", "is not a name"),
        ("[roles.' a']\nagent = 'demo'", "is not a name"),
        (&long, "is not a name of 1 to 64"),
        (
            "[roles.a]\nprojects = ['x']\nagent = 'demo'",
            "2: roles.a.projects: there is no project `x`",
        ),
        ("[roles.a]\nprojects = []\nagent = 'demo'", "names no project"),
        (
            "[roles.a]\ndefault = true\nagent = 'demo'\n[roles.b]\ndefault = true\nagent = 'demo'",
            "5: roles.b.default: role `a` is the default already",
        ),
        (
            "[projects.p]\n[roles.a]\nagent = 'demo'\ndefault = true\nprojects = ['P']\n\
             [roles.b]\nagent = 'demo'\ndefault = true",
            "role `a` is the default already",
        ),
        ("[projects.a]\nrepository = '--upload-pack=x:y'", "is not a path or URL"),
        ("[projects.a]\nrepository = 5", "`5` is not a path"),
        ("[projects.a]\ndescription = \"a\\u0007\"", "is not a text of printable characters"),
        ("[agents.a]", "1: agents.a: needs `command`"),
        ("[agents.a]\ncommand = ''", "an empty text is not a program"),
        ("[agents.a]\ncommand = '~'", "`~` is not a program"),
        ("[agents.a]\ncommand = ['a']", "an array is not a program; use a path"),
        ("[agents.a]\ncommand = '/a'\ndriver = 'ACP'", "`ACP` is not `acp` or `command`"),
        ("[agents.a]\ncommand = '/a'\nargs = '--x'", "3: agents.a.args: the value is not an array"),
        ("[agents.a]\ncommand = '/a'\nargs = [5]", "the value is not an array of texts"),
        ("[agents.a]\ncommand = '/a'\nargs = [\"a\\u001b\"]", "the value is not an array of texts"),
        (
            "[roles.a]\nagent = 'x'",
            "2: roles.a.agent: there is no agent program `x`; add `[agents.NAME]`, or use `demo`",
        ),
        (
            "[roles.a]\nagent = 'claude'",
            "its program `claude-agent-acp` is not on PATH; install it, or add `[agents.claude]`; there is `demo`",
        ),
        ("[roles.a]\nagent = 'demo'\npermissions = 'yes'", "`yes` is not `ask`, `deny` or `allow`"),
        ("[roles.a]\nagent = 'demo'\nmode = \"a\\nb\"", "is not a text of printable characters"),
        ("[roles.a]\nagent = 'demo'\nprompt = \"\\u0000\"", "is not a text of at most 64 KiB"),
        (&prompt, "is not a text of at most 64 KiB"),
        ("[roles.a]\nagent = 'demo'\nenvironment_file = ''", "an empty text is not a path"),
        (
            "[roles.a]\nagent = 'demo'\ncredentials = 'a'",
            "3: roles.a.credentials: `a` is not a table",
        ),
        (
            "[roles.a]\nagent = 'demo'\n[roles.a.credentials]\na = 5",
            "4: roles.a.credentials.a: `5` is not a path",
        ),
    ] {
        let problems = Machine::new().config(text).problems();
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].contains(expected), "{text}: {problems:?}");
    }
    let disjoint = "[projects.p]\n[projects.q]\n[roles.a]\ndefault = true\nprojects = ['p']\nagent = 'demo'\n\
                    [roles.b]\ndefault = true\nprojects = ['q']\nagent = 'demo'";
    assert_eq!(Machine::new().config(disjoint).settings().roles.len(), 2);
}

#[test]
fn credentials_are_placed_below_the_home_only() {
    for target in ["/a", "..", "../a", "a/../b", "./a", "a//b", "a/", "", "~/a", "~", "a\\u0000"] {
        let text = format!("[roles.a]\nagent = 'demo'\ncredentials = {{ \"{target}\" = '/s' }}");

        let problems = Machine::new().config(&text).problems();

        assert_eq!(problems.len(), 1, "{target}: {problems:?}");
        assert!(problems[0].contains("is not a path below the agent's home"), "{problems:?}");
    }
}

#[test]
fn variables_are_refused_without_their_values() {
    for (fields, expected) in [
        ("environment = 'KEY=hunter2'", "environment: the value is not a table"),
        ("environment = ['KEY=hunter2']", "environment: the value is not a table"),
        ("environment = { KEY = ['hunter2'] }", "environment.KEY: the value is not a text"),
        ("environment = { KEY = \"hunter2\\u0000\" }", "environment.KEY: the value is not a text"),
        ("environment.KEY.hunter = 'hunter2'", "environment.KEY: the value is not a text"),
        ("environment.1KEY = 'hunter2'", "environment.1KEY: is not a variable's name"),
        ("environment = { 'A=B' = 'hunter2' }", "environment.\"A=B\": is not a variable's name"),
        ("environment = { 'Ä' = 'hunter2' }", "is not a variable's name"),
        ("environment = { '' = 'hunter2' }", "environment.\"\": is not a variable's name"),
        ("environment = { KEY = 'hunter2' 'hunter2' }", ""),
        ("KEY = 'hunter2'", "KEY: unknown key"),
    ] {
        for section in ["[agents.a]\ncommand = '/a'", "[roles.a]\nagent = 'demo'"] {
            let problems = Machine::new().config(&format!("{section}\n{fields}")).problems();

            assert!(problems[0].contains(expected), "{fields}: {problems:?}");
            assert!(!problems.concat().contains("hunter2"), "{fields}: {problems:?}");
        }
    }
}

#[test]
fn settings_can_be_printed_without_the_variables() {
    let machine = Machine::new().config(
        "[agents.a]\ncommand = '/a'\nenvironment.KEY = 'hunter2'\n\
         [roles.a]\nagent = 'a'\nenvironment.KEY = 'hunter2'",
    );

    let loaded = machine.load().unwrap();

    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn nothing_about_projects_programs_and_roles_needs_a_restart() {
    let old = Machine::new().flag("state_dir", "/s").settings();
    let new = Machine::new().flag("state_dir", "/s").config(
        "[fleet]\nmax_agents = 2\n[projects.p]\n[agents.a]\ncommand = '/a'\n[roles.r]\nagent = 'a'",
    );

    assert_eq!(needs_restart(&old, &new.settings()).len(), 0);
}
