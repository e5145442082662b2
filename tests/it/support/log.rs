//! What a daemon has to say of the requests that it refused.

use nix::sys::signal::Signal;

use super::TestDaemon;

/// Ends the daemon and returns its whole log: nothing comes after.
pub(crate) fn whole_log(daemon: &mut TestDaemon) -> Vec<String> {
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    daemon.log_line(" - INFO - Server stopped");
    daemon.log()
}

/// The entries of this event, such as `auth_failure`.
pub(crate) fn entries<'a>(log: &'a [String], event: &str) -> Vec<&'a str> {
    let field = format!(" event={event} ");
    log.iter().filter(|line| line.contains(&field)).map(|line| &**line).collect()
}

/// The value of a field that has no blank in it.
pub(crate) fn field<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = entry.split_once(&format!(" {name}="))?;
    after.split(' ').next()
}
