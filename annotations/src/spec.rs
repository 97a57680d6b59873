use std::{num::NonZeroU32, sync::Arc, time::Duration};

use ebb_core::AppProtocol;

use super::Schedule;

/// How one service is scaled and served: every annotation and cluster-wide setting, resolved.
///
/// Parsed once; after it, nobody looks at an annotation again.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own, and none a state")]
pub struct ScalingSpec {
    /// What the windows average.
    pub metric: Metric,
    /// Wanted per pod, in units of the metric: `total × utilization`, at least 0.01.
    pub target: f64,
    /// What one pod can take, in units of the metric.
    pub total: f64,
    /// A second signal, of the other metric; `None`: there is only the one.
    pub second: Option<Signal>,
    /// Requests in flight that one pod can take, whatever the metric; burst capacity is counted in it.
    pub pod_concurrency: f64,
    /// Spare requests wanted on top of the current load.
    pub target_burst_capacity: TargetBurstCapacity,
    /// Least pods; 0 allows scale to zero.
    pub min_scale: u32,
    /// Least pods by time, on top of the above; never more than `max_scale`.
    pub schedule: Option<Arc<Schedule>>,
    /// Most pods; `None` is unlimited.
    pub max_scale: Option<NonZeroU32>,
    /// Pods at creation, until the service was first ready.
    pub initial_scale: u32,
    /// Least pods whenever any are wanted at all.
    pub activation_scale: Option<NonZeroU32>,
    /// Averaged over by the stable value; also how long panic lasts after its last cause.
    pub stable_window: Duration,
    /// Averaged over by the panic value.
    pub panic_window: Duration,
    /// Ratio of pods wanted by the panic value to ready pods that starts a panic.
    pub panic_threshold: f64,
    /// How both windows weigh their seconds.
    pub aggregation: Aggregation,
    /// A decrease waits until it was wanted for this long.
    pub scale_down_delay: Duration,
    /// The last pod stays at least this long after the service became inactive.
    pub pod_retention_period: Duration,
    /// Time for the network to move to the activators before the last pod goes.
    pub scale_to_zero_grace_period: Duration,
    /// Whether zero is allowed at all.
    pub scale_to_zero: bool,
    /// Most growth in one decision, as a ratio of ready pods.
    pub max_scale_up_rate: f64,
    /// Most shrinking in one decision, as a ratio of ready pods.
    pub max_scale_down_rate: f64,
    /// Requests in flight that one activator is budgeted for.
    pub activator_capacity: f64,
    /// How long a scale target may take to make progress; 30 s later an activation has failed.
    pub progress_deadline: Duration,
    /// Whether clients can reach the service; an unreachable one has no lower bounds.
    pub reachable: bool,
    /// How requests are admitted and timed.
    pub serving: ServingSpec,
    /// Whose rules hold where Ebb knows better ones than the reference.
    pub rules: Rules,
    /// Whether pods that are starting count as capacity to come.
    pub startup_aware: bool,
    /// Pods that may be starting at once; `None`: no bound of its own.
    pub max_starting_pods: Option<NonZeroU32>,
    /// Whether a scale-down names the least busy pods.
    pub idle_first: bool,
}

impl ScalingSpec {
    /// Least pods; `initialized` tells whether the service was ready once, after which its initial scale
    /// no longer counts. More than [`max_scale`](Self::max_scale) if the bounds contradict each other.
    pub fn lower_bound(&self, initialized: bool) -> u32 {
        match (self.reachable, initialized) {
            (false, _) => 0,
            (true, true) => self.min_scale,
            // An initial scale of 1 is no bound: the service may be asked to go before it was ever ready.
            (true, false) if self.initial_scale <= 1 => self.min_scale,
            (true, false) => self.min_scale.max(self.initial_scale),
        }
    }

    /// Ready pods that it takes to call the service active. Zero only before it was `initialized`, where an
    /// initial scale of 0 means that it need not start at all.
    pub fn active_threshold(&self, initialized: bool) -> u32 {
        self.min_scale.max(if initialized { 1 } else { self.initial_scale })
    }
}

/// How a service's requests are admitted, held and timed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingSpec {
    /// Requests that one pod may execute at once; `None` is unlimited.
    pub container_concurrency: Option<NonZeroU32>,
    /// Requests that one activator holds at most for the service; the next one gets 503.
    pub queue_depth: NonZeroU32,
    /// A request is held at most this long; then it gets 503 and the reason.
    pub activation_deadline: Duration,
    /// From a request's arrival at a pod to its last byte; 504 after it.
    pub request_timeout: Duration,
    /// From a request's arrival at a pod to the response's head; `None` is off.
    pub response_start_timeout: Option<Duration>,
    /// Longest gap between two frames of a response; `None` is off.
    pub idle_timeout: Option<Duration>,
    /// A client's connection that is older is asked to go, and an upgraded one ended; `None` is off.
    pub max_connection_age: Option<Duration>,
    /// An upgraded connection on which no byte passes for so long is ended; `None` is off.
    pub tunnel_idle_timeout: Option<Duration>,
    /// The HTTP path that tells whether a pod is ready, beginning with `/`; `None`: a TCP connection does.
    pub readiness_path: Option<String>,
    /// The version of HTTP that the app speaks; `None` where nobody says so.
    pub app_protocol: Option<AppProtocol>,
}

/// What the decider scales by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests in flight.
    Concurrency,
    /// Requests per second.
    Rps,
}

/// Whose rules hold where a complaint about the reference is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// Ebb's: what the complaint is about is mended.
    #[default]
    Mended,
    /// The reference's, to the number.
    Reference,
}

/// One thing to scale by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    /// What the windows average.
    pub metric: Metric,
    /// Wanted per pod, in units of the metric: `total × utilization`, at least 0.01.
    pub target: f64,
    /// What one pod can take, in units of the metric.
    pub total: f64,
}

/// How a window weighs its seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// All alike.
    Linear,
    /// The newer, the heavier.
    WeightedExponential,
}

/// Spare requests that must be possible before clients are sent to the pods directly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TargetBurstCapacity {
    /// The annotation's -1: the activator stays in the path always, and pods are not scraped.
    Unlimited,
    /// So many requests; 0 takes the activator out whenever a pod is ready.
    Requests(f64),
}

impl TargetBurstCapacity {
    /// The meaning of a setting's number.
    pub(super) const fn from_setting(number: f64) -> Self {
        if number == -1.0 { Self::Unlimited } else { Self::Requests(number) }
    }
}

impl Metric {
    /// The metric that an annotation's value names.
    pub(super) fn named(text: &str) -> Option<Self> {
        [Self::Concurrency, Self::Rps].into_iter().find(|metric| metric.as_str() == text)
    }

    /// The annotation's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::Rps => "rps",
        }
    }
}
