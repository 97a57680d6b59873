//! Ctrl-C once drains, twice ends; so do SIGTERM, and SIGHUP when the terminal goes.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A shell's exit status for what Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Ctrl-C, SIGTERM and SIGHUP.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Stop {
    /// From here on the signals are ours.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves when we are told to stop; again when we are told a second time.
    pub(crate) async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
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
