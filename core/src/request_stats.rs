//! Time-averaged concurrency and request counts, computed from timestamped events.
//!
//! The arithmetic is the reference's, in its order, so that `request_stats.json` holds to the last bit: every event
//! first adds `concurrency × elapsed`, then changes the concurrency.

use std::time::Duration;

use crate::Tick;

/// Whether a request came directly from a client, or through an activator, which counts it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a client.
    Direct,
    /// Through an activator.
    Proxied,
}

/// The statistics since the previous report.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Requests in flight, averaged by time.
    pub average_concurrency: f64,
    /// The part of it that came through an activator.
    pub average_proxied_concurrency: f64,
    /// Requests that began.
    pub requests: f64,
    /// The part of them that came through an activator.
    pub proxied_requests: f64,
}

/// The running integrals of one hop.
#[derive(Clone, Debug)]
pub struct RequestStats {
    last_change: Tick,
    concurrency: f64,
    proxied: f64,
    seconds_in_use: f64,
    concurrency_seconds: f64,
    proxied_seconds: f64,
    requests: f64,
    proxied_requests: f64,
}

impl RequestStats {
    /// Starts counting at `now`.
    pub const fn new(now: Tick) -> Self {
        Self {
            last_change: now,
            concurrency: 0.0,
            proxied: 0.0,
            seconds_in_use: 0.0,
            concurrency_seconds: 0.0,
            proxied_seconds: 0.0,
            requests: 0.0,
            proxied_requests: 0.0,
        }
    }

    /// Records that a request began.
    pub fn begin(&mut self, now: Tick, origin: Origin) {
        self.integrate(now);
        self.requests += 1.0;
        self.concurrency += 1.0;
        if origin == Origin::Proxied {
            self.proxied_requests += 1.0;
            self.proxied += 1.0;
        }
    }

    /// Records that a request ended.
    pub fn end(&mut self, now: Tick, origin: Origin) {
        self.integrate(now);
        self.concurrency -= 1.0;
        if origin == Origin::Proxied {
            self.proxied -= 1.0;
        }
    }

    /// Returns the number of requests in flight.
    pub const fn in_flight(&self) -> f64 {
        self.concurrency
    }

    /// Returns the report since the last one, and starts a new one.
    pub fn report(&mut self, now: Tick) -> Report {
        self.integrate(now);
        let average = |sum: f64| if self.seconds_in_use > 0.0 { sum / self.seconds_in_use } else { 0.0 };
        let report = Report {
            average_concurrency: average(self.concurrency_seconds),
            average_proxied_concurrency: average(self.proxied_seconds),
            requests: self.requests,
            proxied_requests: self.proxied_requests,
        };
        self.seconds_in_use = 0.0;
        self.concurrency_seconds = 0.0;
        self.proxied_seconds = 0.0;
        self.requests = 0.0;
        self.proxied_requests = 0.0;
        report
    }

    /// Integrates up to `now`; an event from the past adds no time.
    fn integrate(&mut self, now: Tick) {
        if now <= self.last_change {
            return;
        }
        let elapsed = seconds(now.since(self.last_change));
        self.seconds_in_use += elapsed;
        self.concurrency_seconds += self.concurrency * elapsed;
        self.proxied_seconds += self.proxied * elapsed;
        self.last_change = now;
    }
}

/// Returns seconds as the reference computes them: whole seconds plus the fraction, each exact on its own.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs() as f64 + f64::from(duration.subsec_nanos()) / 1e9
}
