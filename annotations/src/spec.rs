use std::{num::NonZeroU32, sync::Arc, time::Duration};

use ebb_core::{AppProtocol, LateResponse};

use super::Schedule;

/// How one service is scaled and served: all annotations and cluster-wide settings, resolved.
///
/// It is parsed once; no other code reads annotations.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own, and none a state")]
pub struct ScalingSpec {
    /// The metric that the windows average.
    pub metric: Metric,
    /// The target per pod, in units of the metric: `total × utilization`, at least 0.01.
    pub target: f64,
    /// What one pod can take, in units of the metric.
    pub total: f64,
    /// A second signal, of the other metric; `None` if there is none.
    pub second: Option<Signal>,
    /// The requests in flight that one pod can take, whatever the metric; burst capacity is computed from it.
    pub pod_concurrency: f64,
    /// The spare requests wanted on top of the current load.
    pub target_burst_capacity: TargetBurstCapacity,
    /// The least pods; 0 allows scale to zero.
    pub min_scale: u32,
    /// The least pods by time, in addition to `min_scale`; never more than `max_scale`.
    pub schedule: Option<Arc<Schedule>>,
    /// The most pods; `None` is unlimited.
    pub max_scale: Option<NonZeroU32>,
    /// The pods at creation, until the service was first ready.
    pub initial_scale: u32,
    /// The least pods if any are wanted.
    pub activation_scale: Option<NonZeroU32>,
    /// The window of the stable value; also how long panic lasts after its last cause.
    pub stable_window: Duration,
    /// The window of the panic value.
    pub panic_window: Duration,
    /// The ratio of pods wanted by the panic value to ready pods that starts a panic.
    pub panic_threshold: f64,
    /// How both windows weigh their seconds.
    pub aggregation: Aggregation,
    /// How long a decrease must have been wanted before it is made.
    pub scale_down_delay: Duration,
    /// How long the last pod stays, at least, after the service became inactive.
    pub pod_retention_period: Duration,
    /// The time for the network to switch to the activators before the last pod goes.
    pub scale_to_zero_grace_period: Duration,
    /// Whether scale to zero is allowed.
    pub scale_to_zero: bool,
    /// The most growth in one decision, as a ratio of ready pods.
    pub max_scale_up_rate: f64,
    /// The most shrinking in one decision, as a ratio of ready pods.
    pub max_scale_down_rate: f64,
    /// The requests in flight that one activator is budgeted for.
    pub activator_capacity: f64,
    /// The time within which a scale target must make progress; 30 s later an activation has failed.
    pub progress_deadline: Duration,
    /// Whether clients can reach the service; an unreachable service has no lower bounds.
    pub reachable: bool,
    /// How requests are admitted and timed.
    pub serving: ServingSpec,
    /// Whose rules apply if Ebb differs from the reference.
    pub rules: Rules,
    /// Whether starting pods count as capacity to come.
    pub startup_aware: bool,
    /// The most pods that may be starting at once; `None` is unlimited.
    pub max_starting_pods: Option<NonZeroU32>,
    /// Whether a scale-down names the least busy pods.
    pub idle_first: bool,
}

impl ScalingSpec {
    /// Returns the least pods. Once the service is `initialized`, that is, was ready, its initial scale no
    /// longer counts. The result is more than [`max_scale`](Self::max_scale) if the bounds contradict each
    /// other.
    pub fn lower_bound(&self, initialized: bool) -> u32 {
        match (self.reachable, initialized) {
            (false, _) => 0,
            (true, true) => self.min_scale,
            // An initial scale of 1 is no bound: the service may be scaled to zero before it was ever ready.
            (true, false) if self.initial_scale <= 1 => self.min_scale,
            (true, false) => self.min_scale.max(self.initial_scale),
        }
    }

    /// Returns the ready pods that make the service active. Zero only before it was `initialized`, if its
    /// initial scale of 0 means that it need not start.
    pub fn active_threshold(&self, initialized: bool) -> u32 {
        self.min_scale.max(if initialized { 1 } else { self.initial_scale })
    }
}

/// How the requests of a service are admitted, held and timed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingSpec {
    /// The requests that one pod may execute at once; `None` is unlimited.
    pub container_concurrency: Option<NonZeroU32>,
    /// The most requests that one activator holds for the service; the next one gets 503.
    pub queue_depth: NonZeroU32,
    /// How long a request is held; then it gets 503 and the reason.
    pub activation_deadline: Duration,
    /// From a request's arrival at a pod to its last byte; 504 after it.
    pub request_timeout: Duration,
    /// From a request's arrival at a pod to the response's head; `None` is off.
    pub response_start_timeout: Option<Duration>,
    /// The longest gap between two frames of a response; `None` is off.
    pub idle_timeout: Option<Duration>,
    /// What becomes of a response that has begun when its time is over.
    pub late_response: LateResponse,
    /// The longest age of a client's connection, and of an upgraded one; `None` is off.
    pub max_connection_age: Option<Duration>,
    /// How long an upgraded connection may be idle; `None` is off.
    pub tunnel_idle_timeout: Option<Duration>,
    /// The HTTP path of the readiness check, beginning with `/`; `None` means that a TCP connection is
    /// enough.
    pub readiness_path: Option<String>,
    /// The HTTP version of the app; `None` if it is not declared.
    pub app_protocol: Option<AppProtocol>,
}

/// What a service is scaled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests in flight.
    Concurrency,
    /// Requests per second.
    Rps,
}

/// Whose rules apply where Ebb fixes known problems of the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// Ebb's, with the problems fixed.
    #[default]
    Mended,
    /// The reference's exact numbers.
    Reference,
}

/// A metric to scale by, with its target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    /// The metric that the windows average.
    pub metric: Metric,
    /// The target per pod, in units of the metric: `total × utilization`, at least 0.01.
    pub target: f64,
    /// What one pod can take, in units of the metric.
    pub total: f64,
}

/// How a window weighs its seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// All equally.
    Linear,
    /// Newer seconds weigh more.
    WeightedExponential,
}

/// The spare requests that pods must be able to take before clients are sent to them directly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TargetBurstCapacity {
    /// The annotation's -1: the activator always stays in the path, and pods are not scraped.
    Unlimited,
    /// A number of requests; 0 takes the activator out of the path whenever a pod is ready.
    Requests(f64),
}

impl TargetBurstCapacity {
    /// Converts a setting's number.
    pub(super) const fn from_setting(number: f64) -> Self {
        if number == -1.0 { Self::Unlimited } else { Self::Requests(number) }
    }
}

impl Metric {
    /// Returns the metric for an annotation's value.
    pub(super) fn named(text: &str) -> Option<Self> {
        [Self::Concurrency, Self::Rps].into_iter().find(|metric| metric.as_str() == text)
    }

    /// Returns the annotation's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::Rps => "rps",
        }
    }
}
