//! What the `main` functions of all programs share: logging, refusing an invalid configuration, stopping on signals,
//! surviving panics.

mod caught;

use std::{
    fmt::Display,
    future::poll_fn,
    io::{self, IsTerminal},
    process::ExitCode,
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};
use tracing::{error, level_filters::LevelFilter, warn};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

pub use caught::{Panicked, caught};

/// Exit status for an invalid configuration (BSD's `EX_USAGE`).
const BAD_CONFIG: u8 = 64;

/// `timeout` and process managers send a signal to a program and to its group, and `npm` forwards what the terminal
/// has sent already, so the same signal arrives twice at once. No person who lost patience with a drain is that fast.
const DUPLICATE_WITHIN: Duration = Duration::from_secs(2);

/// Number of tasks that a program's runtime runs before it checks for new events. Tokio's default of 61 is high if
/// each task moves much data: tasks with small requests wait for all of them.
pub const LOOKS_AFTER: u32 = 8;

/// Runs a program on a runtime built by `runtime`.
pub fn run_on(runtime: &mut Builder, main: impl Future<Output = ExitCode>) -> ExitCode {
    match runtime.enable_all().event_interval(LOOKS_AFTER).build() {
        Ok(runtime) => runtime.block_on(main),
        Err(error) => exit_code(Err(error)),
    }
}

/// Logs to standard error, with colours if it is a terminal. For the crates in `quiet`, only errors are logged,
/// because their callers report everything else.
pub fn log(level: LevelFilter, quiet: &[&'static str]) {
    let quiet = quiet.iter().map(|name| (*name, LevelFilter::ERROR));
    let targets = Targets::new().with_default(level).with_targets(quiet);
    let lines =
        tracing_subscriber::fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
}

/// Logs all faults of the configuration. Returns the exit status.
pub fn refuse<T: Display>(faults: &[T]) -> ExitCode {
    for fault in faults {
        error!("{fault}");
    }
    BAD_CONFIG.into()
}

/// Returns the exit status for `ended`.
pub fn exit_code(ended: io::Result<ExitCode>) -> ExitCode {
    ended.unwrap_or_else(|error| {
        error!("{error}");
        ExitCode::FAILURE
    })
}

/// Signals that stop a program: the first one starts a drain, a later one stops at once. The same signal within 2 s
/// of the first is a duplicate.
#[derive(Debug)]
pub struct Stop {
    signals: Vec<(SignalKind, Signal)>,
    heard: Heard,
}

impl Stop {
    /// Starts to handle SIGTERM and SIGINT.
    ///
    /// # Errors
    ///
    /// Returns an error if the system does not allow it.
    pub fn listen() -> io::Result<Self> {
        Self::listen_to(&[SignalKind::terminate(), SignalKind::interrupt()])
    }

    /// Starts to handle these signals.
    ///
    /// # Errors
    ///
    /// Returns an error if the system does not allow it.
    pub fn listen_to(kinds: &[SignalKind]) -> io::Result<Self> {
        let signals = kinds.iter().map(|kind| Ok((*kind, signal(*kind)?))).collect::<io::Result<_>>()?;
        Ok(Self { signals, heard: Heard::default() })
    }

    /// Resolves when the program is told to stop, and again when it is told once more.
    pub async fn told(&mut self) {
        loop {
            let kind = self.next().await;
            if self.heard.means_something(kind, Instant::now()) {
                return;
            }
            warn!(signal = kind.as_raw_value(), "ignoring a repeated signal within 2 s");
        }
    }

    async fn next(&mut self) -> SignalKind {
        poll_fn(|cx| {
            for (kind, signal) in &mut self.signals {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(*kind);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Waits for `draining`. If the program is told to stop once more, drops it and returns a failure.
    pub async fn drain(&mut self, draining: impl Future<Output = ()>) -> ExitCode {
        tokio::select! {
            () = draining => ExitCode::SUCCESS,
            () = self.told() => {
                warn!("second signal: stopping at once");
                ExitCode::FAILURE
            }
        }
    }
}

/// The first signal that arrived, and when.
#[derive(Debug, Default)]
struct Heard(Option<(SignalKind, Instant)>);

impl Heard {
    /// Returns whether a signal at `now` is not a duplicate of the first one.
    fn means_something(&mut self, kind: SignalKind, now: Instant) -> bool {
        let Some((first, at)) = self.0 else {
            self.0 = Some((kind, now));
            return true;
        };
        kind != first || now.saturating_duration_since(at) >= DUPLICATE_WITHIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_signal_once_more_within_two_seconds_is_one_and_a_later_one_is_another() {
        /// A signal, when it arrived in milliseconds, and whether it counts.
        type Came = (SignalKind, u64, bool);
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        let rows: [(&str, &[Came]); 6] = [
            ("once", &[(terminate, 0, true)]),
            ("to the child and to its group", &[(terminate, 0, true), (terminate, 1, false)]),
            (
                "four times in all",
                &[
                    (terminate, 0, true),
                    (terminate, 0, false),
                    (terminate, 40, false),
                    (terminate, 1_999, false),
                ],
            ),
            ("somebody lost patience", &[(interrupt, 0, true), (interrupt, 2_000, true)]),
            (
                "also after one that came twice",
                &[
                    (interrupt, 0, true),
                    (interrupt, 3, false),
                    (interrupt, 2_001, true),
                    (interrupt, 2_002, true),
                ],
            ),
            ("another kind is meant", &[(interrupt, 0, true), (terminate, 5, true), (interrupt, 9, false)]),
        ];
        for (name, signals) in rows {
            let (mut heard, begun) = (Heard::default(), Instant::now());
            for (kind, at, means) in signals {
                let now = begun + Duration::from_millis(*at);
                assert_eq!(heard.means_something(*kind, now), *means, "{name}: {kind:?} after {at} ms");
            }
        }
    }
}
