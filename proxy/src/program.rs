//! What the `main` of each program does the same way: log, refuse a bad configuration, stop when told.

use std::{
    fmt::Display,
    io::{self, IsTerminal},
    process::ExitCode,
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, level_filters::LevelFilter, warn};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// Exit status for a configuration that cannot be used (BSD's `EX_USAGE`).
const BAD_CONFIG: u8 = 64;

/// Logs to standard error, in colour where that is a terminal. `quiet` names crates whose errors are all that is
/// wanted of them: what else they have to say is said by whoever uses them.
pub fn log(level: LevelFilter, quiet: &[&'static str]) {
    let quiet = quiet.iter().map(|name| (*name, LevelFilter::ERROR));
    let targets = Targets::new().with_default(level).with_targets(quiet);
    let lines =
        tracing_subscriber::fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
}

/// Says all that is wrong with the configuration, and what to exit with.
pub fn refuse<T: Display>(faults: &[T]) -> ExitCode {
    for fault in faults {
        error!("{fault}");
    }
    BAD_CONFIG.into()
}

/// What to exit with after `ended`.
pub fn exit_code(ended: io::Result<ExitCode>) -> ExitCode {
    ended.unwrap_or_else(|error| {
        error!("{error}");
        ExitCode::FAILURE
    })
}

/// SIGTERM and SIGINT: the first asks to drain, the second to end at once.
#[derive(Debug)]
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// From here on the signals are ours.
    ///
    /// # Errors
    ///
    /// If the system does not give them to us.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Resolves when we are told to stop; again when we are told once more.
    pub async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Lets `draining` end, unless we are told once more: then it is dropped, and that is a failure.
    pub async fn drain(&mut self, draining: impl Future<Output = ()>) -> ExitCode {
        tokio::select! {
            () = draining => ExitCode::SUCCESS,
            () = self.told() => {
                warn!("told to stop twice: ending at once");
                ExitCode::FAILURE
            }
        }
    }
}
