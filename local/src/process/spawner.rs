use std::{collections::BTreeMap, ffi::OsString, io, path::PathBuf, process::Stdio};

use tokio::{
    process::Command,
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{Guard, Launcher, Output, Process, Stream, pod_exec};
use crate::container::Running;

/// Starts that may wait: each takes about a millisecond.
const CAPACITY: usize = 256;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct What {
    pub(crate) command: Vec<String>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) environment: BTreeMap<String, String>,
    /// The container that the command runs, if it is an engine's.
    pub(crate) running: Option<Running>,
}

/// Starts processes, all from one thread that lives as long as we do: for the kernel, the parent of a process
/// is the *thread* that started it, and the process would be killed when that thread ended.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    starts: mpsc::Sender<Start>,
    launcher: Launcher,
    guard: Guard,
}

struct Start {
    command: Command,
    answer: oneshot::Sender<io::Result<tokio::process::Child>>,
}

impl Spawner {
    pub(crate) fn new(launcher: Launcher, guard: Guard) -> io::Result<Self> {
        let (starts, mut wanted) = mpsc::channel::<Start>(CAPACITY);
        let runtime = Handle::current();
        std::thread::Builder::new().name("spawner".into()).spawn(move || {
            let _entered = runtime.enter();
            while let Some(Start { mut command, answer }) = wanted.blocking_recv() {
                // If the caller no longer waits, the child is dropped, which kills it.
                drop(answer.send(command.spawn()));
            }
        })?;
        Ok(Self { starts, launcher, guard })
    }

    /// Starts a process whose output goes to `output`.
    pub(crate) async fn spawn(&self, what: &What, output: &Output) -> io::Result<Process> {
        let mut command = Command::new(&self.launcher.0);
        command
            .arg(pod_exec::COMMAND)
            .arg(std::process::id().to_string())
            .args(what.command.iter().map(OsString::from))
            .envs(&what.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &what.directory {
            command.current_dir(directory);
        }
        // Before it exists, so that there is no moment in which nobody would kill it.
        what.running.iter().for_each(|container| self.guard.watch_container(container));
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the spawner has ended");
        self.starts.send(Start { command, answer }).await.map_err(|_| gone())?;
        let started = answered.await.map_err(|_| gone())?;
        if started.is_err() {
            what.running.iter().for_each(|container| self.guard.release_container(container));
        }
        let mut child = started?;
        output.begin();
        let mut readers = JoinSet::new();
        if let Some(out) = child.stdout.take() {
            readers.spawn(output.clone().read(Stream::Out, out));
        }
        if let Some(err) = child.stderr.take() {
            readers.spawn(output.clone().read(Stream::Err, err));
        }
        Ok(Process::new(child, what.running.clone(), self.guard.clone(), readers))
    }
}
