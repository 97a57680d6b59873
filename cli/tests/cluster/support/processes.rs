//! The processes of this machine, as the kernel shows them in `/proc`.

use std::{fs, path::PathBuf};

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: i32,
    pub(crate) parent: i32,
    /// A letter: `Z` is dead and not yet waited for.
    pub(crate) state: char,
    pub(crate) command: String,
}

/// All processes.
fn all() -> Vec<Seen> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(seen).collect()
}

/// `None` if it has just gone.
fn seen(id: i32) -> Option<Seen> {
    let stat = fs::read_to_string(proc(id, "stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Seen { id, parent, state, command: name.to_owned() })
}

fn proc(id: i32, file: &str) -> PathBuf {
    ["/proc", &id.to_string(), file].iter().collect()
}

/// The processes of the pods of `service`, and what these started: all inherit its name.
pub(crate) fn of_service(service: &str) -> Vec<Seen> {
    let marker = format!("EBB_SERVICE={service}");
    let is_of = |process: &Seen| {
        let environment = fs::read(proc(process.id, "environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == marker.as_bytes())
    };
    all().into_iter().filter(|process| process.state != 'Z' && is_of(process)).collect()
}

/// Our own children that are dead and that nobody waited for.
pub(crate) fn zombies() -> Vec<Seen> {
    let us = i32::try_from(std::process::id()).unwrap();
    all().into_iter().filter(|process| process.parent == us && process.state == 'Z').collect()
}

pub(crate) fn kill(id: i32) {
    use rustix::process::{Pid, Signal, kill_process};
    kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
}
