use std::{
    ffi::OsString,
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use rustix::process::{Pid, getppid};

/// The hidden command that starts a pod's process.
pub(super) const COMMAND: &str = "pod-exec";
/// A shell's exit status for a command that was not found.
const NOT_FOUND: u8 = 127;
/// A shell's exit status for a command that cannot be run.
const NOT_RUNNABLE: u8 = 126;

/// Asks the kernel to kill this process when its parent dies, then becomes the command.
///
/// The arguments are the process number of the parent, and the command. If the parent has already died, its
/// death would no longer kill this process, so nothing is run. Returns only if it could not become the
/// command; the status says why.
pub(super) fn pod_exec(arguments: &[OsString]) -> ExitCode {
    let Some((parent, command)) = arguments.split_first() else {
        return failed(NOT_FOUND, "no command");
    };
    let Some(parent) = parent.to_str().and_then(|parent| parent.parse().ok()) else {
        return failed(NOT_RUNNABLE, "pod-exec wants a process number and a command");
    };
    if let Err(error) = tie_to_parent(parent) {
        return failed(NOT_RUNNABLE, &format!("cannot tie the pod to ebb: {error}"));
    }
    let Some((program, arguments)) = command.split_first() else {
        return failed(NOT_FOUND, "no command");
    };
    let error = Command::new(program).args(arguments).exec();
    let status = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE };
    failed(status, &format!("cannot run {}: {error}", program.display()))
}

#[cfg(target_os = "linux")]
fn tie_to_parent(parent: i32) -> io::Result<()> {
    use rustix::process::{Signal, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    still_there(parent)
}

/// On other systems only the guardian does this.
#[cfg(not(target_os = "linux"))]
fn tie_to_parent(parent: i32) -> io::Result<()> {
    still_there(parent)
}

fn still_there(parent: i32) -> io::Result<()> {
    if getppid() == Pid::from_raw(parent) { Ok(()) } else { Err(io::Error::other("ebb has ended")) }
}

fn failed(status: u8, problem: &str) -> ExitCode {
    // Its standard error is shown as the pod's; if it is closed, there is nobody to tell.
    let _ = writeln!(io::stderr(), "ebb: {problem}");
    status.into()
}
