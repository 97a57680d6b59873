//! Two cores: the measured program has the first for itself, the measuring one uses the second.

use std::{
    error::Error,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Moves this process to the second core. Prints a line if there is only one, or the core cannot be chosen.
/// Must be called before threads are started, because they inherit the choice.
pub(crate) fn leave_the_first() -> bool {
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-p", "-c", "1", &own]).stdout(Stdio::null()).status();
    let pinned = pinned.is_ok_and(|status| status.success());
    if !pinned {
        println!("skipped: want taskset, and two cores");
    }
    pinned
}

/// Returns a command that runs `program` alone on the first core and discards its output.
pub(crate) fn alone_on_the_first(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program).stderr(Stdio::null()).stdout(Stdio::null());
    command
}

/// Returns the CPU time that a process has used.
#[allow(dead_code, reason = "not every bench measures it")]
pub(crate) fn used(child: &Child) -> Result<Duration, Box<dyn Error>> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    // The program's name may contain anything; after it, the user time is field twelve and the system time
    // thirteen.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // Linux counts 100 ticks a second on every machine that it runs pods on.
    Ok(Duration::from_millis(ticks * 10))
}
