//! Two cores: what is measured has the first for itself, what measures it the second.

use std::{
    error::Error,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Goes to the second core. Without two, or without a way to choose, a line says so. To be called before there are threads:
/// they run where the one runs that began them.
pub(crate) fn leave_the_first() -> bool {
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-p", "-c", "1", &own]).stdout(Stdio::null()).status();
    let pinned = pinned.is_ok_and(|status| status.success());
    if !pinned {
        println!("skipped: want taskset, and two cores");
    }
    pinned
}

/// A command that runs `program` alone on the first core, and whose output nobody reads.
pub(crate) fn alone_on_the_first(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program).stderr(Stdio::null()).stdout(Stdio::null());
    command
}

/// The time of a core that a process has used.
#[allow(dead_code, reason = "not every bench measures it")]
pub(crate) fn used(child: &Child) -> Result<Duration, Box<dyn Error>> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    // The name of the program may hold anything; after it the user's time is the twelfth, the kernel's next.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // Linux shows a hundred of them a second on every machine that it runs pods on.
    Ok(Duration::from_millis(ticks * 10))
}
