//! When a tunnel is closed although neither side has closed it.

use std::{future::pending, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// How long a tunnel may last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Term {
    /// Regardless of its use; `None` is without a limit.
    pub(crate) until: Option<Instant>,
    /// Without a byte in either direction; `None` is without a limit.
    pub(crate) idle: Option<Duration>,
}

/// A tunnel and its term.
#[derive(Debug)]
pub(super) struct Watch {
    until: Option<Instant>,
    silence: Option<Silence>,
}

#[derive(Debug)]
struct Silence {
    limit: Duration,
    since: Mutex<Instant>,
}

impl Watch {
    pub(super) fn begin(term: Term) -> Self {
        let silence = |limit| Silence { limit, since: Mutex::new(Instant::now()) };
        Self { until: term.until, silence: term.idle.map(silence) }
    }

    /// Records that bytes have passed. It costs nothing without an idle limit.
    pub(super) fn passed(&self) {
        if let Some(silence) = &self.silence {
            *silence.since.lock() = Instant::now();
        }
    }

    /// Resolves with the reason when the term is over.
    pub(super) async fn over(&self) -> &'static str {
        tokio::select! {
            () = self.aged() => "age",
            () = self.silent() => "silence",
        }
    }

    async fn aged(&self) {
        match self.until {
            Some(until) => sleep_until(until).await,
            None => pending().await,
        }
    }

    async fn silent(&self) {
        let Some(Silence { limit, since }) = &self.silence else { return pending().await };
        loop {
            let due = since.lock().checked_add(*limit);
            match due {
                Some(due) if due <= Instant::now() => return,
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        }
    }
}
