//! When a tunnel is ended though neither side has.

use std::{future::pending, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// How long a tunnel may last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Term {
    /// However much passes; `None` is without an end.
    pub(crate) until: Option<Instant>,
    /// Without a byte, in either direction; `None` is for ever.
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

    /// Bytes have passed. Where nobody wants to know it, it costs nothing.
    pub(super) fn passed(&self) {
        if let Some(silence) = &self.silence {
            *silence.since.lock() = Instant::now();
        }
    }

    /// Resolves when the term is over; answers why.
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
