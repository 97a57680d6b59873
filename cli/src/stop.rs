//! Ctrl-C once drains, twice ends; so do SIGTERM, and SIGHUP when the terminal goes.

use std::{io, process::ExitCode};

use ebb_proxy::program;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A shell's exit status for what Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// What stops any of our programs, and SIGHUP.
pub(crate) struct Stop {
    stop: program::Stop,
    hang_up: Signal,
}

impl Stop {
    /// From here on the signals are ours.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { stop: program::Stop::listen()?, hang_up: signal(SignalKind::hangup())? })
    }

    /// Resolves when we are told to stop; again when we are told a second time.
    pub(crate) async fn told(&mut self) {
        tokio::select! {
            () = self.stop.told() => {}
            _ = self.hang_up.recv() => {}
        }
    }

    /// Finishes `ending`, unless we are told once more: then everything ends at once, the pods with us.
    pub(crate) async fn finish(&mut self, ending: impl Future<Output = ()>) -> ExitCode {
        tokio::select! {
            () = ending => ExitCode::SUCCESS,
            () = self.told() => {
                eprintln!("ebb: stopped at once; what was in flight is lost");
                INTERRUPTED.into()
            }
        }
    }
}
