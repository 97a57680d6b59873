//! Ctrl-C once drains, and once more ends; so do SIGTERM, and SIGHUP when the terminal goes. The same signal within 2 s of
//! the first is no second one.

use std::{io, process::ExitCode};

use ebb_proxy::program;
use tokio::signal::unix::SignalKind;

/// A shell's exit status for what Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// What stops any of our programs, and SIGHUP.
pub(crate) struct Stop(program::Stop);

impl Stop {
    /// From here on the signals are ours.
    pub(crate) fn listen() -> io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        program::Stop::listen_to(&kinds).map(Self)
    }

    /// Resolves when we are told to stop; again when we are told a second time.
    pub(crate) async fn told(&mut self) {
        self.0.told().await;
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
