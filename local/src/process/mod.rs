//! Processes: started, watched, stopped, and never left behind.
//!
//! Three things ensure that none is left behind. A pod's process asks the kernel to be killed when we die
//! (`pod_exec`). Each pod has its own process group, which is signalled, so that its children end with it.
//! And a guardian (`guard`), a small process that outlives us by a moment, kills the groups that are left if
//! we were killed ourselves. A container is no child of the process that started it: it is killed by its
//! name, by us or by the guardian.

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

use crate::container::Running;

pub(crate) use command::{check as check_command, find_program};
pub(crate) use guard::Guard;
pub(crate) use output::Output;
pub use output::{Line, Stream};
pub(crate) use ports::{AppPort, Ports};
pub(crate) use spawner::{Spawner, What};

/// The program that is run again as `pod-exec` and `guard`: `ebb` itself.
#[derive(Clone, Debug)]
pub(crate) struct Launcher(pub(crate) PathBuf);

/// Becomes a pod's command or the guardian, if the arguments of this program say so; otherwise returns
/// `None`. Every launcher must call it first in `main`.
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
    /// Returns whether the exit status is success.
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

/// How long the last output is awaited: a process that left its group may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long an engine may take to kill a container.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(10);

/// A running process and its group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// `None` once the whole group is gone.
    group: Option<Pid>,
    /// The container that it speaks for; `None` if there is none any more.
    container: Option<Running>,
    guard: Guard,
    /// The tasks that read its output; each ends with its pipe.
    readers: JoinSet<()>,
}

impl Process {
    fn new(child: Child, container: Option<Running>, guard: Guard, readers: JoinSet<()>) -> Self {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            guard.watch_group(group);
        }
        Self { child, group, container, guard, readers }
    }

    /// Resolves when the process has ended by itself, its children are gone too, and its output was read. May
    /// be dropped and called again.
    pub(crate) async fn ended(&mut self) -> io::Result<Ended> {
        let status = self.child.wait().await?;
        self.end_group();
        self.end_container().await;
        self.last_words().await;
        Ok(Ended(status))
    }

    /// Asks the process to end, and kills it after `grace`. Afterwards its whole group is gone, and its
    /// output was read.
    pub(crate) async fn stop(mut self, grace: Duration) {
        self.signal(Signal::TERM);
        if timeout(grace, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            if let Err(error) = self.child.wait().await {
                tracing::warn!(%error, "cannot wait for a process");
            }
        }
        self.end_group();
        self.end_container().await;
        self.last_words().await;
    }

    /// Kills the container, if it still runs.
    async fn end_container(&mut self) {
        let Some(container) = &self.container else { return };
        let kill = tokio::process::Command::from(container.kill()).kill_on_drop(true).status();
        // It fails if the container has ended, as it usually has.
        if timeout(ENGINE_TIMEOUT, kill).await.is_ok() {
            self.guard.release_container(container);
        } else {
            tracing::warn!(container = container.name, "its engine does not answer");
        }
        self.container = None;
    }

    async fn last_words(&mut self) {
        // Readers that have not finished by then are stopped with the process.
        let _ = timeout(LAST_WORDS, async { while self.readers.join_next().await.is_some() {} }).await;
    }

    /// Kills the rest of the group. Only once, because its number may be reused later.
    fn end_group(&mut self) {
        self.signal(Signal::KILL);
        if let Some(group) = self.group.take() {
            self.guard.release_group(group);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // The group may have ended by itself.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_group();
    }
}
