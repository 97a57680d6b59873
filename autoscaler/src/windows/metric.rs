use std::time::Duration;

use ebb_core::{
    Tick,
    scaling::{Metric, ScalingSpec, TargetBurstCapacity},
    stat::Stat,
};
use thiserror::Error;

use super::{Window, WindowRules};

/// Length of one bucket: stats arrive once a second (`spec/autoscaler.md`, section 1).
const GRANULARITY: Duration = Duration::from_secs(1);

/// The four series of one service: concurrency and rate, each over the stable and the panic window.
#[derive(Clone, Debug)]
pub struct MetricWindows {
    concurrency: Pair,
    rps: Pair,
    silence: Silence,
}

/// The averages of one metric, both in its units: requests in flight, or requests per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Averages {
    /// Over the stable window.
    pub stable: f64,
    /// Over the panic window.
    pub panic: f64,
}

/// Nothing was recorded for a whole stable window, though pods should have been scraped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no stat arrived for a whole stable window")]
pub struct NoData;

/// What an empty window means.
#[derive(Clone, Copy, Debug)]
enum Silence {
    /// Pods are not scraped and the activator reports only what it carries: silence is idleness.
    Idle,
    /// Pods are scraped each second: silence is a fault, and nothing may be decided by it.
    Unknown,
}

#[derive(Clone, Debug)]
struct Pair {
    stable: Window,
    panic: Window,
}

impl MetricWindows {
    /// Empty windows as `spec` wants them.
    pub fn new(spec: &ScalingSpec, rules: WindowRules) -> Self {
        Self {
            concurrency: Pair::new(spec, rules),
            rps: Pair::new(spec, rules),
            silence: Silence::under(spec.target_burst_capacity),
        }
    }

    /// Adds one report, about a pod or about all of them, to all four series.
    ///
    /// Reports of the same second add up: the activators' shares and the pods' own make the total
    /// (`spec/autoscaler.md`, section 4). The caller has refused what is not [`Stat::is_sane`].
    pub fn record(&mut self, now: Tick, stat: &Stat) {
        self.concurrency.record(now, stat.own_concurrency());
        self.rps.record(now, stat.own_rate());
    }

    /// Both averages of `metric` at `now`.
    ///
    /// # Errors
    ///
    /// [`NoData`] if pods are scraped and the stable window is empty. A service that is not scraped
    /// (unlimited burst capacity) reads 0 then.
    pub fn averages(&self, metric: Metric, now: Tick) -> Result<Averages, NoData> {
        let pair = match metric {
            Metric::Concurrency => &self.concurrency,
            Metric::Rps => &self.rps,
        };
        match self.silence {
            Silence::Unknown if pair.stable.is_empty(now) => Err(NoData),
            _ => Ok(Averages { stable: pair.stable.average(now), panic: pair.panic.average(now) }),
        }
    }

    /// Takes over a changed `spec`; what was recorded stays as far as old and new windows reach.
    pub fn resize(&mut self, now: Tick, spec: &ScalingSpec) {
        self.concurrency.reshape(now, spec);
        self.rps.reshape(now, spec);
        self.silence = Silence::under(spec.target_burst_capacity);
    }
}

impl Pair {
    fn new(spec: &ScalingSpec, rules: WindowRules) -> Self {
        let window = |length| Window::new(spec.aggregation, length, GRANULARITY, rules);
        Self { stable: window(spec.stable_window), panic: window(spec.panic_window) }
    }

    fn record(&mut self, now: Tick, value: f64) {
        self.stable.record(now, value);
        self.panic.record(now, value);
    }

    fn reshape(&mut self, now: Tick, spec: &ScalingSpec) {
        self.stable.reshape(now, spec.aggregation, spec.stable_window);
        self.panic.reshape(now, spec.aggregation, spec.panic_window);
    }
}

impl Silence {
    const fn under(target_burst_capacity: TargetBurstCapacity) -> Self {
        match target_burst_capacity {
            TargetBurstCapacity::Unlimited => Self::Idle,
            TargetBurstCapacity::Requests(_) => Self::Unknown,
        }
    }
}
