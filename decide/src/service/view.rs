use std::time::Duration;

use ebb_annotations::Metric;
use serde_json::{Value, json};

use super::{Explained, ServiceState};
use crate::zero::{Activity, Path};

/// The visible state of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Where its traffic goes.
    pub path: Path,
    /// Whether it serves.
    pub active: bool,
    /// Pods that take traffic.
    pub ready_pods: u32,
    /// Pods decided, between minimum and maximum.
    pub desired_pods: u32,
    /// Replicas that its scale target wants.
    pub replicas: u32,
    /// The average of the metric over the stable window; `None` without data.
    pub stable: Option<f64>,
    /// The average of the metric over the panic window; `None` without data.
    pub panic: Option<f64>,
    /// Requests per second, over the panic window.
    pub rate: f64,
    /// Whether all expected reports have come lately; until then, no pod is removed. True if there is no pod
    /// that could report.
    pub fresh: bool,
    /// Whether the panic window rules.
    pub panicking: bool,
    /// Excess burst capacity: the requests that the pods could take in addition before they are full.
    pub excess_burst_capacity: i64,
    /// The target per pod, in units of the metric.
    pub target: f64,
    /// How long its pods take to start; `None` if none was seen to start.
    pub startup: Option<Duration>,
}

impl View {
    /// Formats the view for programs: loads in units of the metric, times in seconds, unknown values as
    /// `null`.
    pub fn to_json(&self) -> Value {
        json!({
            "path": match self.path { Path::Serve => "serve", Path::Proxy => "proxy" },
            "active": self.active,
            "ready_pods": self.ready_pods,
            "desired_pods": self.desired_pods,
            "replicas": self.replicas,
            "stable": self.stable,
            "panic": self.panic,
            "rate": self.rate,
            "fresh": self.fresh,
            "panicking": self.panicking,
            "excess_burst_capacity": self.excess_burst_capacity,
            "target": self.target,
            "startup_seconds": self.startup.map(|startup| startup.as_secs_f64()),
        })
    }
}

impl ServiceState {
    /// Returns the pods that take traffic, and those that its load asks for or that it should have: more than
    /// its `max-scale` if that is not enough.
    pub fn ready_and_wanted(&self) -> (u32, u32) {
        let by_load = self.history.last().and_then(|last| last.decision).map_or(0, |last| last.desired_pods);
        (self.ready_pods, by_load.max(self.scale.wanted_pods.unwrap_or(0)))
    }

    /// Returns its visible state as of the last decision.
    pub fn view(&self) -> View {
        let last = self.history.last();
        let seen = last.filter(|last| last.decision.is_some()).map(|last| last.seen);
        let averages = seen.map(|seen| seen.of(self.spec.metric));
        View {
            path: self.routing.published().map_or(Path::Proxy, |published| published.path),
            active: matches!(self.scale.activity, Activity::Active { .. }),
            ready_pods: self.ready_pods,
            desired_pods: self.scale.wanted_pods.unwrap_or(0),
            replicas: self.replicas.unwrap_or(0),
            // Rounding may leave a negative zero; adding zero makes it positive.
            stable: averages.map(|averages| averages.stable + 0.0),
            panic: averages.map(|averages| averages.panic + 0.0),
            rate: seen.map_or(0.0, |seen| seen.of(Metric::Rps).panic + 0.0),
            fresh: last.is_some_and(Explained::is_fresh) || self.pods.is_empty(),
            panicking: last.is_some_and(Explained::panicking),
            excess_burst_capacity: self.status.excess_burst_capacity(),
            target: self.spec.target,
            startup: self.startup.learned(),
        }
    }
}
