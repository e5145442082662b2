//! A real daemon in a directory of its own.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Instant,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{
    PATIENCE, Request, eventually,
    manager::{Manager, activated},
    program::Failed,
};

/// How to start a daemon. Authentication is on unless said otherwise.
#[derive(Clone)]
pub(crate) struct Builder {
    home: Arc<TempDir>,
    environment: Vec<(OsString, OsString)>,
    arguments: Vec<OsString>,
    uid: Option<u32>,
    umask: Option<&'static str>,
    stderr: Option<PathBuf>,
    manager: Option<Arc<Manager>>,
}

impl Builder {
    fn new(home: Arc<TempDir>) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let builder = Self {
            home,
            environment: Vec::new(),
            arguments: Vec::new(),
            uid: None,
            umask: None,
            stderr: None,
            manager: None,
        };
        let home = builder.home().as_os_str().to_owned();
        builder
            .env("PATH", path)
            .env("HOME", home)
            .env("FLEET_MCP_LISTEN", "127.0.0.1:0")
            .env("FLEET_MCP_AUTH_ENABLED", "true")
            // Everything is said aloud, so that a secret that slips out anywhere is found.
            .env("FLEET_MCP_LOG", "trace,rmcp=trace,hyper=trace")
    }

    /// The home directory; the state directory is `.fleet-mcp` in it.
    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.variable("FLEET_MCP_STATE_DIR").unwrap_or_else(|| self.home().join(".fleet-mcp"))
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        let named = self.variable("FLEET_MCP_AUTH_TOKEN_FILE");
        named.unwrap_or_else(|| self.state_dir().join("auth_token"))
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        let named = self.variable("FLEET_MCP_CONTROL_SOCKET");
        named.unwrap_or_else(|| self.state_dir().join("run/control.sock"))
    }

    fn variable(&self, name: &str) -> Option<PathBuf> {
        let known = self.environment.iter().find(|(known, _)| known == name);
        known.map(|(_, value)| value.into())
    }

    /// Sets a variable of the daemon's environment, in place of one of the same name.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn auth(self, enabled: bool) -> Self {
        self.env("FLEET_MCP_AUTH_ENABLED", enabled.to_string())
    }

    /// Writes the configuration file.
    pub(crate) fn config(self, toml: &str) -> Self {
        let directory = self.home().join(".config/fleet-mcp");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config.toml"), toml).unwrap();
        self
    }

    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Runs as this user; needs root, and gives the home directory to that user.
    pub(crate) fn uid(mut self, uid: u32) -> Self {
        nix::unistd::chown(self.home.path(), Some(uid.into()), Some(uid.into())).unwrap();
        self.uid = Some(uid);
        self
    }

    /// Gives a file or directory to the user that the daemon runs as.
    pub(crate) fn give(&self, path: &Path) {
        if let Some(uid) = self.uid {
            nix::unistd::chown(path, Some(uid.into()), Some(uid.into())).unwrap();
        }
    }

    /// Runs with this umask, such as `022`.
    pub(crate) fn umask(mut self, umask: &'static str) -> Self {
        self.umask = Some(umask);
        self
    }

    /// Standard error is this file, and not part of the log that tests see.
    pub(crate) fn stderr(mut self, file: &Path) -> Self {
        self.stderr = Some(file.to_owned());
        self
    }

    /// Runs under a service manager, and agents in that many slots; in none if they are to be child
    /// processes. It keeps what the daemon asks it to keep for the next one.
    pub(crate) fn supervised(mut self, slots: usize) -> Self {
        let manager = Manager::new(Arc::clone(&self.home), slots);
        let directory = manager.slots().directory().to_owned();
        let socket = manager.socket().to_owned();
        self.manager = Some(Arc::new(manager));
        let supervised = self.env("NOTIFY_SOCKET", socket);
        if slots == 0 { supervised } else { supervised.env("FLEET_MCP_FLEET_SLOTS", directory) }
    }

    /// The service manager that it runs under.
    pub(crate) fn manager(&self) -> &Manager {
        self.manager.as_ref().expect("supervised")
    }

    /// A program of ours, with this builder's environment, umask and user.
    pub(crate) fn command(&self, program: &str) -> Command {
        let program = match self.uid {
            None => PathBuf::from(program),
            // The build directory may be closed to other users.
            Some(_) => self.copied(program),
        };
        let mut command = match self.umask {
            None => Command::new(program),
            Some(umask) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", r#"umask "$0"; exec "$@""#, umask]).arg(program);
                shell
            }
        };
        command.env_clear().envs(self.environment.iter().cloned()).current_dir(self.home.path());
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    fn copied(&self, program: &str) -> PathBuf {
        let copy = self.home.path().join(Path::new(program).file_name().unwrap());
        if !copy.exists() && fs::hard_link(program, &copy).is_err() {
            fs::copy(program, &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        }
        copy
    }

    /// Starts a daemon that is expected not to come up, and waits for its end. One that comes up is
    /// killed, and has no exit status.
    pub(crate) fn fails(&self) -> Failed {
        let child = self
            .command(env!("CARGO_BIN_EXE_fleet-mcp"))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let ended = std::thread::spawn(move || child.wait_with_output().unwrap());
        let began = Instant::now();
        eventually("the daemon ends", || {
            let is_late = began.elapsed() > PATIENCE / 2;
            (ended.is_finished() || is_late && kill(pid, Signal::SIGKILL).is_ok()).then_some(())
        });
        let output = ended.join().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Failed {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Starts the daemon and waits until it listens.
    pub(crate) fn start(self) -> TestDaemon {
        let mut command = match &self.manager {
            None => {
                let mut command = self.command(env!("CARGO_BIN_EXE_fleet-mcp"));
                command.stdin(Stdio::null());
                command
            }
            Some(manager) => {
                let mut command = self.command(activated().to_str().unwrap());
                command.arg(env!("CARGO_BIN_EXE_fleet-mcp"));
                manager.give(&mut command);
                command
            }
        };
        let mut child = command
            .args(&self.arguments)
            .stdout(Stdio::piped())
            .stderr(match &self.stderr {
                None => Stdio::piped(),
                Some(file) => fs::OpenOptions::new().append(true).open(file).unwrap().into(),
            })
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take().map(|stdout| collect(stdout, &lines));
        let stderr = child.stderr.take().map(|stderr| collect(stderr, &lines));
        let mut daemon = TestDaemon {
            builder: self,
            child,
            lines,
            readers: stdout.into_iter().chain(stderr).collect(),
            addresses: Vec::new(),
            secrets: Mutex::default(),
        };
        daemon.addresses = daemon.wait_until_it_listens();
        daemon
    }
}

/// A running daemon. When it goes out of scope it is stopped, and everything that it ever printed is
/// searched for every secret that the test has seen.
pub(crate) struct TestDaemon {
    builder: Builder,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
    secrets: Mutex<Vec<String>>,
}

impl TestDaemon {
    /// A daemon in a new directory, with authentication on.
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    pub(crate) fn builder() -> Builder {
        let home = TempDir::new().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Builder::new(Arc::new(home))
    }

    /// Stops this daemon, unless it has ended, and starts one like it on the same directory.
    pub(crate) fn restart(self) -> Self {
        self.restart_with(|builder| builder)
    }

    /// The same, with changes.
    pub(crate) fn restart_with(self, change: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = self.builder.clone();
        drop(self);
        change(builder).start()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.builder.home()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.builder.state_dir()
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.builder.token_file()
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.builder.control_socket()
    }

    /// The service manager that it runs under.
    pub(crate) fn manager(&self) -> &Manager {
        self.builder.manager()
    }

    /// How it was started.
    pub(crate) fn how(&self) -> &Builder {
        &self.builder
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The access token, from its file.
    pub(crate) fn token(&self) -> String {
        let file = fs::read(self.token_file()).unwrap();
        let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
        let token = file["value"].as_str().unwrap().to_owned();
        self.watch_for(&token);
        token
    }

    /// Rotates the token and returns the new one.
    pub(crate) fn rotate(&self) -> String {
        self.secret_of(&["rotate"])
    }

    /// Makes a named token, with these options of `fleetctl token create`; its secret.
    pub(crate) fn create_token(&self, name: &str, options: &[&str]) -> String {
        self.secret_of(&[&["token", "create", name], options].concat())
    }

    /// Runs a `fleetctl` command that prints a secret.
    pub(crate) fn secret_of(&self, command: &[&str]) -> String {
        let output = self.fleetctl(command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let token = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
        self.watch_for(&token);
        token
    }

    /// No line of the log may ever hold this.
    pub(crate) fn watch_for(&self, secret: &str) {
        self.secrets.lock().unwrap().push(secret.to_owned());
    }

    pub(crate) fn fleetctl(&self, arguments: &[&str]) -> Output {
        let mut command = self.builder.command(env!("CARGO_BIN_EXE_fleetctl"));
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// `fleetctl status --json`
    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.fleetctl(&["status", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        Request::new(self.address(), "GET", path)
    }

    pub(crate) fn post(&self, path: &str, body: impl Into<String>) -> Request {
        Request::new(self.address(), "POST", path).body(body)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the daemon's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the daemon ends", || self.child.try_wait().unwrap())
    }

    /// Everything printed so far, on either stream.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The first line that holds this text; waits for it.
    pub(crate) fn log_line(&self, text: &str) -> String {
        eventually(text, || self.log().into_iter().find(|line| line.contains(text)))
    }

    fn wait_until_it_listens(&mut self) -> Vec<SocketAddr> {
        let address = |url: &serde_json::Value| {
            let (_, address) = url.as_str().unwrap().split_once("://").unwrap();
            address.parse().unwrap()
        };
        eventually("the daemon listens", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.join_readers();
                panic!("the daemon ended with {status}:\n{}", self.log().join("\n"));
            }
            // The log may go elsewhere, so the daemon is asked.
            let output = self.fleetctl(&["status", "--json"]);
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
            let ready = status["state"] == "ready";
            ready.then(|| status["listeners"].as_array().unwrap().iter().map(address).collect())
        })
    }

    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
    }
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::SIGTERM);
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.wait()));
            if ended.is_err() {
                self.kill();
            }
        }
        self.join_readers();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log().join("\n"));
            return;
        }
        for secret in self.secrets.lock().unwrap().iter() {
            let leak = self.log().into_iter().find(|line| line.contains(secret));
            assert!(leak.is_none(), "a secret is in the log: {leak:?}");
        }
    }
}

fn collect(stream: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    })
}
