//! How long a pod may take to terminate.

use std::time::Duration;

/// The default grace period of a pod. When a webhook sees a pod, this default is already filled in, so it cannot be
/// distinguished from the same value given explicitly.
const DEFAULT_GRACE: i64 = 30;
/// Time without a request after which clients know that the pod terminates, and connections may be closed.
const QUIET: i64 = 10;
/// Time for the app itself, which is told to stop when the drain has ended.
const APP: i64 = 10;

/// The times of a pod's termination, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopping {
    /// The pod's new grace period; `None` leaves it unchanged.
    pub(super) grace: Option<i64>,
    /// After this time without a request, idle connections are closed.
    pub(super) quiet: i64,
    /// After this time, requests in flight are cut, so that the app can stop within the grace period.
    pub(super) limit: i64,
}

/// Returns the times for a pod with the grace period `grace`, whose requests take up to `request_timeout`.
///
/// A pod that leaves its grace period open gets one that, unlike the reference's, covers the time until the last
/// client knows, then the longest request, then the app. It is a limit, not a wait: a pod without requests terminates
/// after about ten seconds. It allows for the user's request timeout, because a shorter one would cut requests. An
/// explicit grace period is kept, and the drain stays within it.
pub(super) fn stopping(grace: Option<i64>, request_timeout: Duration) -> Stopping {
    let given = grace.unwrap_or(DEFAULT_GRACE).max(0);
    let wanted = whole_seconds(request_timeout).saturating_add(QUIET + APP);
    let raised = (given == DEFAULT_GRACE && wanted > given).then_some(wanted);
    let grace = raised.unwrap_or(given);
    let limit = (grace - APP.min(grace / 3)).max(1);
    Stopping { grace: raised, quiet: QUIET.min(limit / 2), limit }
}

/// Returns `duration` in seconds, rounded up.
pub(super) fn whole_seconds(duration: Duration) -> i64 {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_grace_period_covers_the_drain_and_the_app_where_it_is_open() {
        let of = |grace, timeout| stopping(grace, Duration::from_secs(timeout));
        for (grace, timeout, becomes, quiet, limit) in [
            (None, 300, Some(320), 10, 310),
            (Some(30), 300, Some(320), 10, 310),
            (Some(30), 3600, Some(3620), 10, 3610),
            (Some(30), 5, None, 10, 20),
            (Some(30), 10, None, 10, 20),
            (Some(30), 11, Some(31), 10, 21),
            // An explicit value is kept.
            (Some(600), 300, None, 10, 590),
            (Some(60), 300, None, 10, 50),
            (Some(15), 300, None, 5, 10),
            (Some(2), 300, None, 1, 2),
            (Some(1), 300, None, 0, 1),
            (Some(0), 300, None, 0, 1),
            (Some(-1), 300, None, 0, 1),
        ] {
            let stopping = of(grace, timeout);
            assert_eq!(
                (stopping.grace, stopping.quiet, stopping.limit),
                (becomes, quiet, limit),
                "{grace:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_drain_ends_before_the_pod_does(grace in proptest::option::of(2_i64..), timeout in any::<Duration>()) {
            let stopping = stopping(grace, timeout);
            let grace = stopping.grace.or(grace).unwrap_or(DEFAULT_GRACE);
            prop_assert!(stopping.quiet <= stopping.limit && stopping.limit <= grace);
            prop_assert!(grace < 6 || stopping.limit < grace);
        }
    }
}
