//! Runs what `ebb` runs of itself, `pod-exec` and the guardian, for the tests of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    ebb_local::process::reexec(std::env::args_os()).unwrap_or(ExitCode::FAILURE)
}
