use std::{
    collections::BTreeSet,
    io::{self, BufRead, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};

use super::Launcher;

/// The hidden command that runs the guardian.
pub(super) const COMMAND: &str = "guard";

/// Our end of the guardian's pipe, which tells it the process groups to kill when we are gone.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pipe: Arc<Mutex<std::process::ChildStdin>>,
}

impl Guard {
    /// Starts a guardian. It ends when we do.
    ///
    /// # Errors
    ///
    /// Returns an error if its process cannot be started.
    pub(crate) fn start(launcher: &Launcher) -> io::Result<Self> {
        let mut child = Command::new(&launcher.0)
            .arg(COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // In its own group, because Ctrl-C is for us, and we stop the pods.
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take().ok_or_else(|| io::Error::other("the guardian has no input"))?;
        // Ends with the pipe; reaped here, so that it does not become a zombie.
        std::thread::Builder::new().name("guardian".into()).spawn(move || child.wait())?;
        Ok(Self { pipe: Arc::new(Mutex::new(pipe)) })
    }

    pub(super) fn watch(&self, group: Pid) {
        self.tell('+', group);
    }

    pub(super) fn release(&self, group: Pid) {
        self.tell('-', group);
    }

    fn tell(&self, sign: char, group: Pid) {
        // Without a guardian, the kernel still kills pods when we die.
        if let Err(error) = writeln!(self.pipe.lock(), "{sign}{}", group.as_raw_nonzero()) {
            tracing::warn!(%error, "the guardian is gone");
        }
    }
}

/// Runs the guardian: reads process groups from `input`, and kills those that are left at its end.
///
/// # Errors
///
/// Returns an error if `input` cannot be read; the groups are killed before.
pub(super) fn guard(input: impl BufRead) -> io::Result<()> {
    let mut groups = BTreeSet::new();
    let mut failed = Ok(());
    for line in input.lines() {
        match line {
            Ok(line) => note(&mut groups, &line),
            Err(error) => {
                failed = Err(error);
                break;
            }
        }
    }
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        // The group may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
    failed
}

fn note(groups: &mut BTreeSet<i32>, line: &str) {
    match line.split_at_checked(1) {
        Some(("+", group)) => groups.extend(group.parse::<i32>()),
        Some(("-", group)) => {
            if let Ok(group) = group.parse::<i32>() {
                groups.remove(&group);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_were_released_are_not_killed() {
        let mut groups = BTreeSet::new();
        for line in ["+12", "+13", "-12", "nonsense", "", "+x", "-99"] {
            note(&mut groups, line);
        }
        assert_eq!(groups, BTreeSet::from([13]));
    }
}
