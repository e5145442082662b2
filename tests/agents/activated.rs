//! Becomes a program as systemd would start it: `PROGRAM ARGUMENT...`, with the descriptors that come
//! over the standard input as 3, 4, 5… and their names in the environment.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{fd::IntoRawFd as _, unix::process::CommandExt as _},
    process::{Command, ExitCode, Stdio},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else { return ExitCode::from(2) };
    let names = match descriptors() {
        Ok(names) => names,
        Err(_) => return ExitCode::from(3),
    };
    let pid = std::process::id().to_string();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    if !names.is_empty() {
        command
            .env("LISTEN_PID", &pid)
            .env("LISTEN_FDS", names.split(':').count().to_string())
            .env("LISTEN_FDNAMES", names);
    }
    if std::env::var_os("WATCHDOG_USEC").is_some() {
        // As systemd does; a test may want to see what becomes of another's.
        let pid = std::env::var("FOREIGN_WATCHDOG_PID").unwrap_or(pid);
        command.env("WATCHDOG_PID", pid);
    }
    let _ = command.exec();
    ExitCode::from(4)
}

/// Their names, as systemd gives them. They get the lowest free numbers, which are 3, 4, 5…, and
/// stay open in the program that we become.
fn descriptors() -> io::Result<String> {
    let mut names = [0; 16 * 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut names)];
    let received = recvmsg(io::stdin(), &mut parts, &mut ancillary, RecvFlags::empty())?;
    let mut next = 3;
    for message in ancillary.drain() {
        let RecvAncillaryMessage::ScmRights(descriptors) = message else { continue };
        for descriptor in descriptors {
            if descriptor.into_raw_fd() != next {
                return Err(io::Error::other("something else is open"));
            }
            next += 1;
        }
    }
    let names = String::from_utf8_lossy(&names[..received.bytes]);
    Ok(names.trim_end_matches('\n').to_owned())
}
