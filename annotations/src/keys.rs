//! All annotations that Ebb knows, in one table ([`KNOWN`]). Keys are spelled nowhere else.

/// The prefix of the reference's annotations for scaling.
pub const SCALING_PREFIX: &str = "autoscaling.knative.dev/";
/// The prefix of the reference's annotations for serving, of which Ebb knows one.
pub const SERVING_PREFIX: &str = "serving.knative.dev/";
/// The prefix of Ebb's own annotations.
pub const EBB_PREFIX: &str = "ebb.dev/";

/// An annotation's key, and the older spelling that is used if the key is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key, for example `autoscaling.knative.dev/min-scale`.
    pub name: &'static str,
    /// The older spelling, for example `autoscaling.knative.dev/minScale`.
    pub alias: Option<&'static str>,
}

impl Key {
    /// Creates a key without an alias.
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, alias: None }
    }

    const fn or(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    /// Returns the key and its alias, in the order in which they are looked up.
    pub fn spellings(&self) -> impl Iterator<Item = &'static str> {
        [Some(self.name), self.alias].into_iter().flatten()
    }
}

/// The autoscaler class: only [`KPA_CLASS`].
pub const CLASS: Key = Key::new("autoscaling.knative.dev/class");
/// `concurrency` or `rps`; default `concurrency`.
pub const METRIC: Key = Key::new("autoscaling.knative.dev/metric");
/// What one pod can take, in units of the metric: a number of at least 0.01.
pub const TARGET: Key = Key::new("autoscaling.knative.dev/target");
/// The share of the target to aim at, in percent: 1 to 100.
pub const TARGET_UTILIZATION: Key = Key::new("autoscaling.knative.dev/target-utilization-percentage")
    .or("autoscaling.knative.dev/targetUtilizationPercentage");
/// The spare requests wanted: a number of at least 0, or -1 for unlimited.
pub const TARGET_BURST_CAPACITY: Key = Key::new("autoscaling.knative.dev/target-burst-capacity")
    .or("autoscaling.knative.dev/targetBurstCapacity");
/// The least pods: 0 to 2147483647.
pub const MIN_SCALE: Key =
    Key::new("autoscaling.knative.dev/min-scale").or("autoscaling.knative.dev/minScale");
/// The most pods: 0 (unlimited) to 2147483647.
pub const MAX_SCALE: Key =
    Key::new("autoscaling.knative.dev/max-scale").or("autoscaling.knative.dev/maxScale");
/// The pods at creation: 1 to 2147483647, or 0 if the cluster allows it.
pub const INITIAL_SCALE: Key =
    Key::new("autoscaling.knative.dev/initial-scale").or("autoscaling.knative.dev/initialScale");
/// The least pods if any are wanted: 2 to 2147483647.
pub const ACTIVATION_SCALE: Key = Key::new("autoscaling.knative.dev/activation-scale");
/// The stable window: 6s to 1h, whole seconds.
pub const WINDOW: Key = Key::new("autoscaling.knative.dev/window");
/// The panic window in percent of the stable window: 1 to 100.
pub const PANIC_WINDOW: Key = Key::new("autoscaling.knative.dev/panic-window-percentage")
    .or("autoscaling.knative.dev/panicWindowPercentage");
/// The wanted pods, in percent of ready ones, that start a panic: 110 to 1000.
pub const PANIC_THRESHOLD: Key = Key::new("autoscaling.knative.dev/panic-threshold-percentage")
    .or("autoscaling.knative.dev/panicThresholdPercentage");
/// `linear` or `weighted-exponential`; default `linear`.
pub const AGGREGATION: Key = Key::new("autoscaling.knative.dev/metric-aggregation-algorithm")
    .or("autoscaling.knative.dev/metricAggregationAlgorithm");
/// How long a decrease waits: 0s to 1h, whole seconds.
pub const SCALE_DOWN_DELAY: Key =
    Key::new("autoscaling.knative.dev/scale-down-delay").or("autoscaling.knative.dev/scaleDownDelay");
/// How long the last pod stays: 0s to 1h.
pub const POD_RETENTION: Key = Key::new("autoscaling.knative.dev/scale-to-zero-pod-retention-period")
    .or("autoscaling.knative.dev/scaleToZeroPodRetentionPeriod");
/// The time within which a scale target must make progress: at least 1s, whole seconds.
pub const PROGRESS_DEADLINE: Key = Key::new("serving.knative.dev/progress-deadline");

/// The scale target: `Kind/name`.
pub const SCALE_TARGET: Key = Key::new("ebb.dev/scale-target");
/// The Service's selector, kept here while Ebb publishes its endpoints. Written by Ebb.
pub const SELECTOR: Key = Key::new("ebb.dev/selector");
/// The port on which activators serve the Service: 1 to 65535. Written by Ebb.
pub const ACTIVATOR_PORT: Key = Key::new("ebb.dev/activator-port");
/// The requests that one pod may execute at once: 0 (unlimited, the default) to 1000.
pub const CONTAINER_CONCURRENCY: Key = Key::new("ebb.dev/container-concurrency");
/// The most requests that one activator holds: 1 to 100000; default 10000.
pub const QUEUE_DEPTH: Key = Key::new("ebb.dev/queue-depth");
/// How long a request is held: 1s to 1h; default 2m.
pub const ACTIVATION_DEADLINE: Key = Key::new("ebb.dev/activation-deadline");
/// How long a request may take in a pod: 1s to 1h; default 5m.
pub const REQUEST_TIMEOUT: Key = Key::new("ebb.dev/request-timeout");
/// How long a response's head may take: 0s (off, the default) to the request timeout.
pub const RESPONSE_START_TIMEOUT: Key = Key::new("ebb.dev/response-start-timeout");
/// The longest gap within a response: 0s (off, the default) to the request timeout.
pub const IDLE_TIMEOUT: Key = Key::new("ebb.dev/idle-timeout");
/// What becomes of a response that has begun when its time is over: `cut` (the default) or `end`.
pub const LATE_RESPONSE: Key = Key::new("ebb.dev/late-response");
/// The longest age of a client's connection: 0s (off, the default), or at least 1s.
pub const MAX_CONNECTION_AGE: Key = Key::new("ebb.dev/max-connection-age");
/// How long an upgraded connection may be idle: 0s (off, the default), or at least 1s.
pub const TUNNEL_IDLE_TIMEOUT: Key = Key::new("ebb.dev/tunnel-idle-timeout");
/// The HTTP path of the readiness check; if absent, a TCP connection is enough.
pub const READINESS_PATH: Key = Key::new("ebb.dev/readiness-path");
/// The protocol of the app: `http1` or `h2c`; by default, what the Service's port says.
pub const APP_PROTOCOL: Key = Key::new("ebb.dev/app-protocol");
/// Whose rules apply if Ebb differs from the reference: `none` (Ebb's, the default) or `knative`.
pub const COMPATIBILITY: Key = Key::new("ebb.dev/compatibility");
/// Whether starting pods count as capacity to come; default true, or false with `compatibility: knative`.
pub const STARTUP_AWARE: Key = Key::new("ebb.dev/startup-aware");
/// The most pods that may be starting at once: 0 (no limit, the default) to 2147483647.
pub const MAX_STARTING_PODS: Key = Key::new("ebb.dev/max-starting-pods");
/// Whether a scale-down names the least busy pods; default true.
pub const IDLE_FIRST: Key = Key::new("ebb.dev/idle-first");
/// The requests in flight that one pod can take, if the metric is another one: at least 0.01, or 0 (off).
pub const TARGET_CONCURRENCY: Key = Key::new("ebb.dev/target-concurrency");
/// The requests per second that one pod can take, if the metric is another one: at least 0.01, or 0 (off).
pub const TARGET_RPS: Key = Key::new("ebb.dev/target-rps");
/// The least pods by time: `CRON [ZONE] for DURATION min PODS`, with more entries after a `;`.
pub const SCHEDULE: Key = Key::new("ebb.dev/schedule");

/// The Service's port that Ebb takes over, by name or number; default: its first HTTP port.
pub const PORT: Key = Key::new("ebb.dev/port");
/// How pods get their queue-proxy: `ordinary`, `native` or `none`.
pub const SIDECAR: Key = Key::new("ebb.dev/sidecar");
/// Whether pods that do not say get a service-account token.
pub const MOUNT_TOKEN: Key = Key::new("ebb.dev/mount-token");
/// Whether pods older than the annotation are replaced, by a rollout.
pub const RESTART: Key = Key::new("ebb.dev/restart");
/// A number that the owner raises with each change, so that the condition `ebb.dev/InEffect` can name it: an integer of
/// at least 0; if absent, there is no such condition.
pub const GENERATION: Key = Key::new("ebb.dev/generation");
/// The last valid split, used while the current one is invalid. Written by Ebb.
pub const VALID_SPLIT: Key = Key::new("ebb.dev/valid-split");
/// What is wrong and how to fix it. Written by Ebb.
pub const STATUS: Key = Key::new("ebb.dev/status");

/// The split of a route: `NAME=WEIGHT, NAME=WEIGHT`, or a single name.
pub const SPLIT: Key = Key::new("ebb.dev/split");
/// What keeps a user with one target: `cookie NAME` or `header NAME`; if absent, requests are split one by
/// one.
pub const SPLIT_BY: Key = Key::new("ebb.dev/split-by");
/// The time in which a changed split is reached step by step: 0s (at once, the default), or 1s to 24h.
pub const SPLIT_DURATION: Key = Key::new("ebb.dev/split-duration");
/// Whether the rollout is paused.
pub const ROLLOUT_PAUSED: Key = Key::new("ebb.dev/rollout-paused");
/// The progress of a route's rollout. Written by Ebb.
pub const ROLLOUT: Key = Key::new("ebb.dev/rollout");

/// The hosts of the Service at the gateway: `hello.example.com, *.tenant.example.com`.
pub const HOSTS: Key = Key::new("ebb.dev/hosts");
/// The Secret of type `kubernetes.io/tls` with their certificate.
pub const TLS_SECRET: Key = Key::new("ebb.dev/tls-secret");
/// Whether plain HTTP requests for them are redirected to `https`; default false.
pub const HTTPS_REDIRECT: Key = Key::new("ebb.dev/https-redirect");

/// Every known key.
pub const KNOWN: [Key; 52] = [
    CLASS,
    METRIC,
    TARGET,
    TARGET_UTILIZATION,
    TARGET_BURST_CAPACITY,
    MIN_SCALE,
    MAX_SCALE,
    INITIAL_SCALE,
    ACTIVATION_SCALE,
    WINDOW,
    PANIC_WINDOW,
    PANIC_THRESHOLD,
    AGGREGATION,
    SCALE_DOWN_DELAY,
    POD_RETENTION,
    PROGRESS_DEADLINE,
    SCALE_TARGET,
    SELECTOR,
    ACTIVATOR_PORT,
    CONTAINER_CONCURRENCY,
    QUEUE_DEPTH,
    ACTIVATION_DEADLINE,
    REQUEST_TIMEOUT,
    RESPONSE_START_TIMEOUT,
    IDLE_TIMEOUT,
    LATE_RESPONSE,
    MAX_CONNECTION_AGE,
    TUNNEL_IDLE_TIMEOUT,
    READINESS_PATH,
    APP_PROTOCOL,
    COMPATIBILITY,
    STARTUP_AWARE,
    MAX_STARTING_PODS,
    IDLE_FIRST,
    TARGET_CONCURRENCY,
    TARGET_RPS,
    SCHEDULE,
    PORT,
    SIDECAR,
    MOUNT_TOKEN,
    RESTART,
    GENERATION,
    SPLIT,
    SPLIT_BY,
    SPLIT_DURATION,
    ROLLOUT_PAUSED,
    ROLLOUT,
    HOSTS,
    TLS_SECRET,
    HTTPS_REDIRECT,
    VALID_SPLIT,
    STATUS,
];

/// The class that scales by requests, the only one that Ebb supports.
pub const KPA_CLASS: &str = "kpa.autoscaling.knative.dev";
/// The class that leaves scaling to the Kubernetes HPA; known only to be refused by name.
pub const HPA_CLASS: &str = "hpa.autoscaling.knative.dev";

/// Returns the key for a short name: `target` becomes `autoscaling.knative.dev/target`, `queue-depth` becomes
/// `ebb.dev/queue-depth`. A name with a `/` is returned as it is; an unknown name becomes a scaling key.
pub fn full_key(short: &str) -> String {
    if short.contains('/') {
        return short.to_owned();
    }
    let known = KNOWN.iter().flat_map(Key::spellings).find(|name| short_name(name) == short);
    known.map_or_else(|| format!("{SCALING_PREFIX}{short}"), str::to_owned)
}

/// Returns whether `key` has one of Ebb's prefixes, but is unknown.
pub(super) fn is_unknown(key: &str) -> bool {
    let claims = [SCALING_PREFIX, SERVING_PREFIX, EBB_PREFIX].iter().any(|prefix| key.starts_with(prefix));
    claims && !is_known(key)
}

/// Returns whether Ebb knows `key`.
pub(super) fn is_known(key: &str) -> bool {
    KNOWN.iter().flat_map(Key::spellings).any(|known| known == key)
}

/// Returns the key without its prefix.
pub(super) fn short_name(key: &str) -> &str {
    key.split_once('/').map_or(key, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_share_a_spelling_or_a_short_name() {
        let mut names: Vec<_> = KNOWN.iter().flat_map(Key::spellings).map(short_name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn short_names_become_keys() {
        for (short, full) in [
            ("target", "autoscaling.knative.dev/target"),
            ("minScale", "autoscaling.knative.dev/minScale"),
            ("queue-depth", "ebb.dev/queue-depth"),
            ("progress-deadline", "serving.knative.dev/progress-deadline"),
            ("no-such-thing", "autoscaling.knative.dev/no-such-thing"),
            ("example.com/target", "example.com/target"),
        ] {
            assert_eq!(full_key(short), full);
        }
    }

    #[test]
    fn keys_that_claim_to_steer_ebb_and_do_not_are_unknown() {
        for key in
            ["autoscaling.knative.dev/min_scale", "serving.knative.dev/rollout-duration", "ebb.dev/zebra"]
        {
            assert!(is_unknown(key), "{key}");
        }
    }

    #[test]
    fn keys_of_others_are_none_of_our_business() {
        for key in [
            "foo",
            "networking.knative.dev/x",
            "autoscaling.knative.devil/x",
            MIN_SCALE.name,
            PROGRESS_DEADLINE.name,
        ] {
            assert!(!is_unknown(key), "{key}");
        }
    }
}
