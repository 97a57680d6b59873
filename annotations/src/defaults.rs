use std::{num::NonZeroU32, time::Duration};

use super::{
    TargetBurstCapacity, admission,
    duration::GoDuration,
    fault::{Fault, FaultKind},
    keys::{KPA_CLASS, Key},
    reading::{Reading, Texts},
    settings::{Settings, not_above_one},
    strict,
};

const ENABLE_SCALE_TO_ZERO: Key = Key::new("enable-scale-to-zero");
const CLASS: Key = Key::new("pod-autoscaler-class");
const UTILIZATION: Key = Key::new("container-concurrency-target-percentage");
const TOTAL: Key = Key::new("container-concurrency-target-default");
const RPS_TOTAL: Key = Key::new("requests-per-second-target-default");
const TARGET_BURST_CAPACITY: Key = Key::new("target-burst-capacity");
const ACTIVATOR_CAPACITY: Key = Key::new("activator-capacity");
const ALLOW_ZERO_INITIAL_SCALE: Key = Key::new("allow-zero-initial-scale");
const INITIAL_SCALE: Key = Key::new("initial-scale");
const MIN_SCALE: Key = Key::new("min-scale");
const MAX_SCALE: Key = Key::new("max-scale");
const MAX_SCALE_LIMIT: Key = Key::new("max-scale-limit");
const MAX_SCALE_UP_RATE: Key = Key::new("max-scale-up-rate");
const MAX_SCALE_DOWN_RATE: Key = Key::new("max-scale-down-rate");
const STABLE_WINDOW: Key = Key::new("stable-window");
const PANIC_WINDOW: Key = Key::new("panic-window-percentage");
const PANIC_THRESHOLD: Key = Key::new("panic-threshold-percentage");
const GRACE_PERIOD: Key = Key::new("scale-to-zero-grace-period");
const POD_RETENTION: Key = Key::new("scale-to-zero-pod-retention-period");
const SCALE_DOWN_DELAY: Key = Key::new("scale-down-delay");
const PROGRESS_DEADLINE: Key = Key::new("progress-deadline");

/// The cluster settings that have no annotation.
pub(super) const CLUSTER_ONLY: [Key; 9] = [
    UTILIZATION,
    TOTAL,
    RPS_TOTAL,
    ACTIVATOR_CAPACITY,
    ALLOW_ZERO_INITIAL_SCALE,
    MAX_SCALE_LIMIT,
    MAX_SCALE_UP_RATE,
    MAX_SCALE_DOWN_RATE,
    GRACE_PERIOD,
];

/// The cluster's defaults and limits: the reference's map `config-autoscaler`, typed.
///
/// The key `progress-deadline` comes from the reference's `config-deployment`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterDefaults {
    /// `enable-scale-to-zero`: whether scale to zero is allowed.
    pub scale_to_zero: bool,
    /// `pod-autoscaler-class`: the class of services without an annotation.
    pub class: String,
    /// `container-concurrency-target-percentage`, as a fraction: the share of the total to aim at.
    pub utilization: f64,
    /// `container-concurrency-target-default`: the requests that a pod of unlimited concurrency can take.
    pub total: f64,
    /// `requests-per-second-target-default`: the requests per second that a pod can take.
    pub rps_total: f64,
    /// `target-burst-capacity`: the spare requests wanted.
    pub target_burst_capacity: TargetBurstCapacity,
    /// `activator-capacity`: the requests in flight that one activator is budgeted for.
    pub activator_capacity: f64,
    /// `allow-zero-initial-scale`: whether a service may start with no pod.
    pub allow_zero_initial_scale: bool,
    /// `initial-scale`: the pods at creation.
    pub initial_scale: u32,
    /// `min-scale`: the least pods.
    pub min_scale: u32,
    /// `max-scale`: the most pods; `None` is unlimited.
    pub max_scale: Option<NonZeroU32>,
    /// `max-scale-limit`: the largest `max-scale` that a service may set; `None` is unlimited.
    pub max_scale_limit: Option<NonZeroU32>,
    /// `max-scale-up-rate`: the most growth in one decision, as a ratio of ready pods.
    pub max_scale_up_rate: f64,
    /// `max-scale-down-rate`: the most shrinking in one decision, as a ratio of ready pods.
    pub max_scale_down_rate: f64,
    /// `stable-window`.
    pub stable_window: Duration,
    /// `panic-window-percentage`: the panic window in percent of the stable window.
    pub panic_window_percentage: f64,
    /// `panic-threshold-percentage`: the wanted pods, in percent of ready ones, that start a panic.
    pub panic_threshold_percentage: f64,
    /// `scale-to-zero-grace-period`: the time for the network to change before the last pod goes.
    pub scale_to_zero_grace_period: Duration,
    /// `scale-to-zero-pod-retention-period`: how long the last pod stays.
    pub pod_retention_period: Duration,
    /// `scale-down-delay`: how long a decrease waits.
    pub scale_down_delay: Duration,
    /// `progress-deadline`: the time within which a scale target must make progress.
    pub progress_deadline: Duration,
}

impl Default for ClusterDefaults {
    fn default() -> Self {
        Self {
            scale_to_zero: true,
            class: KPA_CLASS.to_owned(),
            utilization: 0.7,
            total: 100.0,
            rps_total: 200.0,
            target_burst_capacity: TargetBurstCapacity::Requests(211.0),
            activator_capacity: 100.0,
            allow_zero_initial_scale: false,
            initial_scale: 1,
            min_scale: 0,
            max_scale: None,
            max_scale_limit: None,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            stable_window: Duration::from_secs(60),
            panic_window_percentage: 10.0,
            panic_threshold_percentage: 200.0,
            scale_to_zero_grace_period: Duration::from_secs(30),
            pod_retention_period: Duration::ZERO,
            scale_down_delay: Duration::ZERO,
            progress_deadline: Duration::from_secs(600),
        }
    }
}

impl ClusterDefaults {
    /// The keys that [`from_map`](Self::from_map) reads.
    pub const KEYS: [&str; 21] = [
        ENABLE_SCALE_TO_ZERO.name,
        CLASS.name,
        UTILIZATION.name,
        TOTAL.name,
        RPS_TOTAL.name,
        TARGET_BURST_CAPACITY.name,
        ACTIVATOR_CAPACITY.name,
        ALLOW_ZERO_INITIAL_SCALE.name,
        INITIAL_SCALE.name,
        MIN_SCALE.name,
        MAX_SCALE.name,
        MAX_SCALE_LIMIT.name,
        MAX_SCALE_UP_RATE.name,
        MAX_SCALE_DOWN_RATE.name,
        STABLE_WINDOW.name,
        PANIC_WINDOW.name,
        PANIC_THRESHOLD.name,
        GRACE_PERIOD.name,
        POD_RETENTION.name,
        SCALE_DOWN_DELAY.name,
        PROGRESS_DEADLINE.name,
    ];

    /// Reads the cluster's settings. Absent keys have their defaults. Unknown keys are ignored, because the
    /// map comes with an `_example`.
    ///
    /// # Errors
    ///
    /// Returns all faults of the map at once.
    pub fn from_map(map: &Texts) -> Result<Self, Vec<Fault>> {
        let (defaults, mut faults) = Self::read(map);
        for fault in defaults.strict_faults(map) {
            if faults.iter().all(|known| known.key != fault.key) {
                faults.push(fault);
            }
        }
        if faults.is_empty() { Ok(defaults) } else { Err(faults) }
    }

    /// Reads the map by the rules that Ebb shares with the reference. If there are faults, the value is only
    /// good for finding more of them.
    pub(super) fn read(map: &Texts) -> (Self, Vec<Fault>) {
        let mut settings = Settings { map, faults: Vec::new() };
        let mut defaults = Self::default();
        defaults.read_sizes(&mut settings);
        defaults.read_times(&mut settings);
        let mut faults = settings.faults;
        faults.extend(defaults.contradictions(map));
        (defaults, faults)
    }

    fn read_sizes(&mut self, from: &mut Settings<'_>) {
        if let Some(class) = from.map.get(CLASS.name) {
            class.trim().clone_into(&mut self.class);
        }
        from.set(&ENABLE_SCALE_TO_ZERO, &mut self.scale_to_zero, Reading::no_value);
        from.set_fraction(&UTILIZATION, &mut self.utilization);
        from.set(&TOTAL, &mut self.total, Reading::no_value);
        from.set(&RPS_TOTAL, &mut self.rps_total, |total| total.below(admission::MIN_TARGET));
        if let Some(requests) = from.find(&TARGET_BURST_CAPACITY, Reading::not_a_burst_capacity) {
            self.target_burst_capacity = TargetBurstCapacity::from_setting(requests);
        }
        from.set(&ACTIVATOR_CAPACITY, &mut self.activator_capacity, |capacity| capacity.below(1.0));
        from.set(&ALLOW_ZERO_INITIAL_SCALE, &mut self.allow_zero_initial_scale, Reading::no_value);
        from.set_pods(&INITIAL_SCALE, &mut self.initial_scale);
        from.set_pods(&MIN_SCALE, &mut self.min_scale);
        from.set_bound(&MAX_SCALE, &mut self.max_scale);
        from.set_bound(&MAX_SCALE_LIMIT, &mut self.max_scale_limit);
        from.set(&MAX_SCALE_UP_RATE, &mut self.max_scale_up_rate, not_above_one);
        from.set(&MAX_SCALE_DOWN_RATE, &mut self.max_scale_down_rate, not_above_one);
    }

    fn read_times(&mut self, from: &mut Settings<'_>) {
        from.set_duration(&STABLE_WINDOW, &mut self.stable_window, |window| {
            window.not_whole_seconds_within(admission::MIN_WINDOW, admission::MAX_DURATION)
        });
        from.set(&PANIC_WINDOW, &mut self.panic_window_percentage, |share| share.outside(1.0, 100.0));
        from.set(&PANIC_THRESHOLD, &mut self.panic_threshold_percentage, Reading::no_value);
        from.set_duration(&GRACE_PERIOD, &mut self.scale_to_zero_grace_period, |period| {
            period.below(GoDuration::from_nanos(1))
        });
        from.set_duration(&POD_RETENTION, &mut self.pod_retention_period, |period| {
            period.below(GoDuration::ZERO)
        });
        from.set_duration(&SCALE_DOWN_DELAY, &mut self.scale_down_delay, |delay| {
            delay.not_whole_seconds_from(GoDuration::ZERO)
        });
        from.set_duration(&PROGRESS_DEADLINE, &mut self.progress_deadline, |deadline| {
            deadline.not_whole_seconds_from(GoDuration::from_secs(1))
        });
    }

    /// Returns the faults of settings that contradict each other.
    fn contradictions(&self, map: &Texts) -> impl Iterator<Item = Fault> {
        let limit = self.max_scale_limit.map_or(u32::MAX, NonZeroU32::get);
        let least_max = u32::from(self.max_scale_limit.is_some());
        let max = self.max_scale.map_or(0, NonZeroU32::get);
        let least_initial = u32::from(!self.allow_zero_initial_scale);
        [
            (self.utilization * self.total < admission::MIN_TARGET).then(|| {
                let problem = format!("of {} requests is too small a target", self.total);
                contradiction(map, &UTILIZATION, problem, "a target of at least 0.01")
            }),
            (self.initial_scale < least_initial).then(|| {
                let want = "an integer of at least 1, or allow-zero-initial-scale";
                contradiction(map, &INITIAL_SCALE, "is too small", want)
            }),
            (max < least_max || max > limit).then(|| {
                let want = format!("an integer from 1 to {limit}, the max-scale-limit");
                contradiction(map, &MAX_SCALE, "is beyond the limit", want)
            }),
            (max > 0 && self.min_scale > max).then(|| {
                let problem = format!("is more than the max-scale {max}");
                contradiction(map, &MIN_SCALE, problem, format!("at most {max}"))
            }),
        ]
        .into_iter()
        .flatten()
    }

    /// Returns the faults that only Ebb reports, by the same ranges as for annotations.
    fn strict_faults(&self, map: &Texts) -> impl Iterator<Item = Fault> {
        let floats = [
            UTILIZATION,
            TOTAL,
            RPS_TOTAL,
            TARGET_BURST_CAPACITY,
            ACTIVATOR_CAPACITY,
            MAX_SCALE_UP_RATE,
            MAX_SCALE_DOWN_RATE,
            PANIC_WINDOW,
            PANIC_THRESHOLD,
        ];
        let not_finite = floats.into_iter().filter_map(|key| Reading::find(map, &key)?.not_finite());
        let (low, high) = admission::PANIC_THRESHOLD;
        let threshold = Reading::find(map, &PANIC_THRESHOLD).and_then(|share| share.outside(low, high));
        let long = [POD_RETENTION, SCALE_DOWN_DELAY]
            .into_iter()
            .filter_map(|key| Reading::find(map, &key)?.outside(GoDuration::ZERO, admission::MAX_DURATION));
        let class = (self.class != KPA_CLASS).then(|| strict::class_not_offered(CLASS.name, &self.class));
        let initial = self.max_scale.filter(|max| self.initial_scale > max.get()).map(|max| {
            let problem = format!("is more than the max-scale {max}");
            contradiction(map, &INITIAL_SCALE, problem, format!("at most {max}"))
        });
        not_finite.chain(threshold).chain(long).chain(class).chain(initial)
    }
}

fn contradiction(map: &Texts, key: &Key, problem: impl Into<String>, want: impl Into<String>) -> Fault {
    Fault {
        key: key.name.to_owned(),
        value: map.get(key.name).cloned().unwrap_or_default(),
        kind: FaultKind::Other,
        problem: problem.into(),
        want: want.into(),
    }
}

#[cfg(test)]
mod tests;
