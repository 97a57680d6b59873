use std::time::Duration;

use ebb_annotations::{Aggregation, Metric, Rules, ScalingSpec, TargetBurstCapacity};
use ebb_core::{Tick, stat::Stat};
use thiserror::Error;

use super::Window;

/// Length of one bucket: stats arrive once a second (`spec/autoscaler.md`, section 1).
const GRANULARITY: Duration = Duration::from_secs(1);

/// The four series of one service: concurrency and rate, each over the stable and the panic window.
///
/// The buckets are allocated with the first record, and [`Self::forget`] releases them.
#[derive(Clone, Debug)]
pub struct MetricWindows {
    series: Option<Box<Series>>,
    shape: Shape,
    silence: Silence,
}

#[derive(Clone, Debug)]
struct Series {
    concurrency: Pair,
    rps: Pair,
}

#[derive(Clone, Debug)]
struct Pair {
    stable: Window,
    panic: Window,
}

/// The parameters of windows.
#[derive(Clone, Copy, Debug)]
struct Shape {
    aggregation: Aggregation,
    stable: Duration,
    panic: Duration,
    rules: Rules,
}

/// The averages of one metric in its unit: requests in flight, or requests per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Averages {
    /// Over the stable window.
    pub stable: f64,
    /// Over the panic window.
    pub panic: f64,
}

/// Nothing was recorded for a whole stable window, although pods should have been scraped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no stat arrived for a whole stable window")]
pub struct NoData;

/// What an empty window means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// Pods are not scraped, and the activator reports only the requests that pass through it: silence means no load.
    Idle,
    /// Pods are scraped each second: silence is a fault, and must not be used for decisions.
    Unknown,
}

impl MetricWindows {
    /// Returns empty windows according to `spec`.
    pub fn new(spec: &ScalingSpec) -> Self {
        let silence = Silence::under(spec.target_burst_capacity);
        Self { series: None, shape: Shape::of(spec), silence }
    }

    /// Adds one report, for one pod or for all of them, to all four series.
    ///
    /// Reports of the same second are added: the activators' shares and the pods' own make the total
    /// (`spec/autoscaler.md`, section 4). The caller must have refused stats that are not [`Stat::is_sane`].
    pub fn record(&mut self, now: Tick, stat: &Stat) {
        self.add(now, stat.own_concurrency(), stat.own_rate());
    }

    /// Adds requests in flight and requests per second to the second of `now`.
    pub fn add(&mut self, now: Tick, in_flight: f64, rate: f64) {
        let series = self.series.get_or_insert_with(|| Box::new(Series::new(&self.shape)));
        series.concurrency.record(now, in_flight);
        series.rps.record(now, rate);
    }

    /// Returns both averages of `metric` at `now`.
    ///
    /// # Errors
    ///
    /// Returns [`NoData`] if pods are scraped and the stable window is empty. For a service that is not scraped
    /// (unlimited burst capacity), the averages are 0 then.
    pub fn averages(&mut self, metric: Metric, now: Tick) -> Result<Averages, NoData> {
        let pair = self.series.as_mut().map(|series| series.of(metric));
        match (pair, self.silence) {
            (Some(pair), silence) if silence == Silence::Idle || !pair.stable.is_empty(now) => {
                Ok(Averages { stable: pair.stable.average(now), panic: pair.panic.average(now) })
            }
            (None, Silence::Idle) => Ok(Averages::default()),
            _ => Err(NoData),
        }
    }

    /// Applies a changed `spec`. Records are kept as far as both the old and the new windows reach.
    pub fn resize(&mut self, now: Tick, spec: &ScalingSpec) {
        let rules = self.shape.rules;
        self.shape = Shape::of(spec);
        if self.shape.rules != rules {
            // Records made by one set of rules cannot be used by the other.
            self.forget();
        }
        self.silence = Silence::under(spec.target_burst_capacity);
        if let Some(series) = &mut self.series {
            series.concurrency.reshape(now, &self.shape);
            series.rps.reshape(now, &self.shape);
        }
    }

    /// Returns whether anything was recorded.
    pub fn has_records(&self) -> bool {
        self.series.is_some()
    }

    /// Returns whether nothing was recorded for a whole stable window.
    pub fn is_empty(&self, now: Tick) -> bool {
        self.series.as_ref().is_none_or(|series| series.concurrency.stable.is_empty(now))
    }

    /// Forgets all records, and releases their memory.
    pub fn forget(&mut self) {
        self.series = None;
    }
}

impl Series {
    fn new(shape: &Shape) -> Self {
        Self { concurrency: Pair::new(shape), rps: Pair::new(shape) }
    }

    fn of(&mut self, metric: Metric) -> &mut Pair {
        match metric {
            Metric::Concurrency => &mut self.concurrency,
            Metric::Rps => &mut self.rps,
        }
    }
}

impl Shape {
    fn of(spec: &ScalingSpec) -> Self {
        Self {
            aggregation: spec.aggregation,
            stable: spec.stable_window,
            panic: spec.panic_window,
            rules: spec.rules,
        }
    }
}

impl Pair {
    fn new(shape: &Shape) -> Self {
        let window = |length| Window::new(shape.aggregation, length, GRANULARITY, shape.rules);
        Self { stable: window(shape.stable), panic: window(shape.panic) }
    }

    fn record(&mut self, now: Tick, value: f64) {
        self.stable.record(now, value);
        self.panic.record(now, value);
    }

    fn reshape(&mut self, now: Tick, shape: &Shape) {
        self.stable.reshape(now, shape.aggregation, shape.stable);
        self.panic.reshape(now, shape.aggregation, shape.panic);
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
