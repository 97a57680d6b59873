//! Processes: started, watched, stopped, and never left behind.
//!
//! Three things see to the last point. A pod's process asks the kernel to be killed when we die
//! (`pod_exec`). Each has a process group of its own, which is what is signalled, so that what it started
//! goes with it. And a guardian (`guard`), a small process that outlives us by a moment, kills the groups
//! that are left when we were killed ourselves.

mod command;
mod guard;
mod output;
mod pod_exec;
mod ports;
mod spawner;

use std::{
    ffi::OsString,
    fmt, io,
    path::PathBuf,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{process::Child, task::JoinSet, time::timeout};

pub(crate) use command::check as check_command;
pub(crate) use guard::Guard;
pub(crate) use output::Output;
pub use output::{Line, Stream};
pub(crate) use ports::{AppPort, Ports};
pub(crate) use spawner::{Spawner, What};

/// The program that is run again as `pod-exec` and `guard`: `ebb` itself.
#[derive(Clone, Debug)]
pub(crate) struct Launcher(pub(crate) PathBuf);

/// Becomes a pod's command or the guardian, where the arguments of this program say so: to be called first
/// thing in `main` of every program that is a launcher. Otherwise answers `None`.
pub fn reexec(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let arguments: Vec<OsString> = arguments.into_iter().skip(1).collect();
    let (hidden, rest) = arguments.split_first()?;
    if hidden == guard::COMMAND {
        let guarded = guard::guard(io::stdin().lock());
        return Some(if guarded.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if hidden == pod_exec::COMMAND {
        return Some(pod_exec::pod_exec(rest));
    }
    None
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended(ExitStatus);

impl Ended {
    /// Whether it says that all went well.
    pub(crate) fn is_well(self) -> bool {
        self.0.success()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::os::unix::process::ExitStatusExt;
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "exited with status {code}"),
            (None, Some(signal)) => write!(f, "was killed by signal {signal}"),
            (None, None) => write!(f, "ended"),
        }
    }
}

/// What a process said last is waited for so long: something that left its group may hold its output open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running process and its group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// `None` once all of it is gone.
    group: Option<Pid>,
    guard: Guard,
    /// Those who read its output; each ends with its pipe.
    readers: JoinSet<()>,
}

impl Process {
    fn new(child: Child, guard: Guard, readers: JoinSet<()>) -> Self {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            guard.watch(group);
        }
        Self { child, group, guard, readers }
    }

    /// Resolves when it has ended by itself, what it started is gone too, and what it said was read.
    /// May be dropped and called again.
    pub(crate) async fn ended(&mut self) -> io::Result<Ended> {
        let status = self.child.wait().await?;
        self.end_group();
        self.last_words().await;
        Ok(Ended(status))
    }

    /// Asks it to end, and after `grace` makes it. Its whole group is gone afterwards, and what it said was
    /// read.
    pub(crate) async fn stop(mut self, grace: Duration) {
        self.signal(Signal::TERM);
        if timeout(grace, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            if let Err(error) = self.child.wait().await {
                tracing::warn!(%error, "cannot wait for a process");
            }
        }
        self.end_group();
        self.last_words().await;
    }

    async fn last_words(&mut self) {
        // Who is not through by then is stopped with the process.
        let _ = timeout(LAST_WORDS, async { while self.readers.join_next().await.is_some() {} }).await;
    }

    /// Kills what is left of the group. Once only: its number may be another's later.
    fn end_group(&mut self) {
        self.signal(Signal::KILL);
        if let Some(group) = self.group.take() {
            self.guard.release(group);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // A group that has gone by itself is what we want.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_group();
    }
}
