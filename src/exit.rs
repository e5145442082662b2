//! Every exit status of both programs, in one place.

use std::process::{ExitCode, Termination};

/// How a program ended. The numbers are part of the interface: scripts and systemd's
/// `RestartPreventExitStatus=` rely on them. 69, 77 and 78 are those of `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It failed; standard error says why.
    Failed = 1,
    /// The command line can't be understood (clap's own number).
    Usage = 2,
    /// `EX_UNAVAILABLE`: the daemon does not run, or another one already does.
    Unavailable = 69,
    /// `EX_NOPERM`: the operating system or the daemon refuses this user.
    Denied = 77,
    /// `EX_CONFIG`: a setting, or a file that the daemon was told to use, is wrong.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}
