use std::{
    collections::BTreeSet,
    fmt,
    io::{self, BufRead, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};

use super::Launcher;
use crate::container::{Engine, Running};

/// The hidden command that runs the guardian.
pub(super) const COMMAND: &str = "guard";

/// What the guardian kills when we are gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ward {
    /// A process group, by its number.
    Group(i32),
    Container(Running),
}

/// As the guardian reads it: a group by its number, a container by its name and its engine's program.
impl fmt::Display for Ward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "{group}"),
            Self::Container(Running { name, engine }) => write!(f, "{name} {}", engine.path().display()),
        }
    }
}

impl Ward {
    fn read(text: &str) -> Option<Self> {
        match text.split_once(' ') {
            None => text.parse().ok().map(Self::Group),
            Some((name, program)) => {
                let engine = Engine::at(Path::new(program));
                Some(Self::Container(Running { name: name.to_owned(), engine }))
            }
        }
    }
}

/// Our end of the guardian's pipe, which tells it what to kill when we are gone.
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

    pub(super) fn watch_group(&self, group: Pid) {
        self.tell('+', &Ward::Group(group.as_raw_nonzero().get()));
    }

    pub(super) fn release_group(&self, group: Pid) {
        self.tell('-', &Ward::Group(group.as_raw_nonzero().get()));
    }

    pub(super) fn watch_container(&self, container: &Running) {
        self.tell('+', &Ward::Container(container.clone()));
    }

    pub(super) fn release_container(&self, container: &Running) {
        self.tell('-', &Ward::Container(container.clone()));
    }

    fn tell(&self, sign: char, ward: &Ward) {
        // Without a guardian, the kernel still kills processes when we die.
        if let Err(error) = writeln!(self.pipe.lock(), "{sign}{ward}") {
            tracing::warn!(%error, "the guardian is gone");
        }
    }
}

/// Runs the guardian: reads process groups and containers from `input`, and kills those that are left at its
/// end.
///
/// # Errors
///
/// Returns an error if `input` cannot be read; they are killed before.
pub(super) fn guard(input: impl BufRead) -> io::Result<()> {
    let mut wards = BTreeSet::new();
    let mut failed = Ok(());
    for line in input.lines() {
        match line {
            Ok(line) => note(&mut wards, &line),
            Err(error) => {
                failed = Err(error);
                break;
            }
        }
    }
    let mut engines = Vec::new();
    // Groups come first: nothing they do may start a container again.
    for ward in wards {
        match ward {
            Ward::Group(group) => {
                if let Some(group) = Pid::from_raw(group) {
                    // The group may have ended by itself.
                    let _ = kill_process_group(group, Signal::KILL);
                }
            }
            Ward::Container(container) => engines.extend(container.kill().spawn()),
        }
    }
    for mut engine in engines {
        // So may the container have.
        let _ = engine.wait();
    }
    failed
}

fn note(wards: &mut BTreeSet<Ward>, line: &str) {
    let Some((sign, text)) = line.split_at_checked(1) else { return };
    match (sign, Ward::read(text)) {
        ("+", Some(ward)) => drop(wards.insert(ward)),
        ("-", Some(ward)) => drop(wards.remove(&ward)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_released_is_not_killed() {
        let mut wards = BTreeSet::new();
        let container = |name: &str| {
            let engine = Engine::at(Path::new("/opt/my tools/podman"));
            Ward::Container(Running { name: name.to_owned(), engine })
        };
        let lines =
            [format!("+{}", container("a")), format!("+{}", container("b")), format!("-{}", container("a"))];
        for line in ["+12", "+13", "-12", "nonsense", "", "+x", "-99"] {
            note(&mut wards, line);
        }
        for line in &lines {
            note(&mut wards, line);
        }
        assert_eq!(wards, BTreeSet::from([Ward::Group(13), container("b")]));
    }
}
