//! The first Ctrl-C drains, the second ends at once; so do SIGTERM, and SIGHUP when the terminal closes. The
//! same signal within 2 s of the first does not count as a second.

use std::{io, process::ExitCode};

use ebb_proxy::program;
use tokio::signal::unix::SignalKind;

/// A shell's exit status after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// The signals that stop all our programs, and SIGHUP.
pub(crate) struct Stop(program::Stop);

impl Stop {
    /// Starts handling the signals.
    pub(crate) fn listen() -> io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        program::Stop::listen_to(&kinds).map(Self)
    }

    /// Resolves when we are told to stop; again when we are told a second time.
    pub(crate) async fn told(&mut self) {
        self.0.told().await;
    }

    /// Finishes `ending`, unless we are told to stop once more: then everything ends at once, including the
    /// pods.
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
