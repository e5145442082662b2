//! Slots as systemd has them, but for the users: a socket each, whose first connection starts a host.
//! Once that has ended, all that is left of it is killed.

use std::{
    fs,
    os::{
        fd::AsFd as _,
        unix::{
            ffi::OsStrExt as _, fs::PermissionsExt as _, net::UnixListener,
            process::CommandExt as _,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Instant,
};

use fleet_mcp::agents::processes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    PATIENCE,
    manager::{LOOK_AGAIN, activated, give},
};

/// All slots.
pub(crate) struct Slots {
    directory: PathBuf,
    state: PathBuf,
    running: Vec<Arc<Mutex<Option<u32>>>>,
    unwanted: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Slots {
    pub(super) fn new(home: &Path, count: usize) -> Self {
        let directory = home.join("slots");
        let state = home.join("slot-state");
        let mut slots = Self {
            directory,
            state,
            running: Vec::new(),
            unwanted: Arc::default(),
            threads: Vec::new(),
        };
        for directory in [&slots.directory, &slots.state] {
            fs::create_dir_all(directory).unwrap();
        }
        (0..count).for_each(|_| slots.add());
        slots
    }

    /// One more slot, as `systemctl enable --now fleet-agent@NN.socket` makes it.
    pub(crate) fn add(&mut self) {
        let name = format!("{:02}", self.running.len() + 1);
        let socket = self.directory.join(format!("{name}.sock"));
        let listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
        let state = self.state.join(&name);
        fs::create_dir(&state).unwrap();
        let running = Arc::default();
        self.running.push(Arc::clone(&running));
        let slot = Slot { name, state, listener, running, unwanted: Arc::clone(&self.unwanted) };
        self.threads.push(std::thread::spawn(move || slot.serve()));
    }

    /// Where the sockets are: what `fleet.slots` is to be.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The slot's state directory; the workspace is `workspace` in it.
    pub(crate) fn state(&self, slot: usize) -> PathBuf {
        self.state.join(format!("{slot:02}"))
    }

    /// The host that runs in a slot, counted from 1.
    pub(crate) fn host(&self, slot: usize) -> Option<u32> {
        *self.running[slot - 1].lock().unwrap()
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.unwanted.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // Its panic is in the output.
            let _ = thread.join();
        }
    }
}

struct Slot {
    name: String,
    state: PathBuf,
    listener: UnixListener,
    running: Arc<Mutex<Option<u32>>>,
    unwanted: Arc<AtomicBool>,
}

impl Slot {
    fn serve(self) {
        while !self.unwanted.load(Relaxed) {
            if self.somebody_knocks() {
                let mut host = self.start();
                *self.running.lock().unwrap() = Some(host.id());
                self.wait(&mut host);
                self.end_all();
                *self.running.lock().unwrap() = None;
            }
        }
    }

    fn somebody_knocks(&self) -> bool {
        let mut sockets = [PollFd::new(&self.listener, PollFlags::IN)];
        let pause = Timespec { tv_sec: 0, tv_nsec: LOOK_AGAIN.subsec_nanos().into() };
        poll(&mut sockets, Some(&pause)).is_ok_and(|ready| ready > 0)
    }

    fn start(&self) -> Child {
        let mut command = Command::new(activated());
        command
            .args([env!("CARGO_BIN_EXE_fleet-mcp"), "agent-host"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.state)
            .env("STATE_DIRECTORY", &self.state)
            .env("NOTIFY_SOCKET", "/nowhere")
            .current_dir("/")
            .process_group(0)
            .stdout(Stdio::null());
        let name = format!("fleet-agent@{}.socket", self.name);
        give(&mut command, &[(&name, self.listener.as_fd())]);
        command.spawn().unwrap()
    }

    fn wait(&self, host: &mut Child) {
        let mut give_up = None;
        while host.try_wait().unwrap().is_none() {
            if self.unwanted.load(Relaxed) {
                let give_up = give_up.get_or_insert_with(|| Instant::now() + PATIENCE);
                if *give_up < Instant::now() {
                    host.kill().unwrap();
                }
            }
            std::thread::park_timeout(LOOK_AGAIN / 4);
        }
    }

    /// What systemd does with the cgroup.
    fn end_all(&self) {
        let needle = self.state.as_os_str().as_bytes();
        loop {
            let mut left = processes::all().unwrap();
            left.retain(|process| {
                let at = |what: &str| PathBuf::from(format!("/proc/{}/{what}", process.pid));
                let environ = fs::read(at("environ")).unwrap_or_default();
                let cwd = fs::read_link(at("cwd"));
                environ.windows(needle.len()).any(|window| window == needle)
                    || cwd.is_ok_and(|cwd| cwd.starts_with(&self.state))
            });
            left.retain(|process| !process.ended);
            if !processes::kill_all(&left) {
                return;
            }
            std::thread::park_timeout(LOOK_AGAIN / 4);
        }
    }
}
