//! How long a pod may take to leave.

use std::time::Duration;

/// A pod's grace period if it says nothing. By the time we see a pod, that it said nothing cannot be told any more from
/// its saying just this.
const DEFAULT_GRACE: i64 = 30;
/// No request has come for so long: clients have heard that the pod leaves, and connections may be closed.
const QUIET: i64 = 10;
/// Kept for the app itself, which is told to stop when the drain has ended.
const APP: i64 = 10;

/// Times of a pod's end, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopping {
    /// What the pod's grace period is to become; `None` leaves it.
    pub(super) grace: Option<i64>,
    /// Then connections that are idle are closed.
    pub(super) quiet: i64,
    /// Then requests that still run are cut, so that the app can stop within the grace period.
    pub(super) limit: i64,
}

/// The times of a pod with a grace period of `grace`, whose requests take up to `request_timeout`.
///
/// A pod that leaves its grace period open gets one that covers what the reference's does not: until the last
/// client has heard of it, then the longest request, then the app. It is a bound, not a wait: a pod without
/// requests leaves after some ten seconds. It is as long as the user lets requests be, because a shorter one would
/// cut them. What a pod says otherwise stays, and the drain keeps within it.
pub(super) fn stopping(grace: Option<i64>, request_timeout: Duration) -> Stopping {
    let given = grace.unwrap_or(DEFAULT_GRACE).max(0);
    let wanted = whole_seconds(request_timeout).saturating_add(QUIET + APP);
    let raised = (given == DEFAULT_GRACE && wanted > given).then_some(wanted);
    let grace = raised.unwrap_or(given);
    let limit = (grace - APP.min(grace / 3)).max(1);
    Stopping { grace: raised, quiet: QUIET.min(limit / 2), limit }
}

/// `duration` in seconds, rounded up.
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
            // What is said stays.
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
