//! Leader election: of several programs, the one whose name is in a Lease leads, as long as it keeps renewing it.
//!
//! [`evaluate`] contains the whole decision. It does not trust the clocks of other machines: it only uses how long we
//! have seen the record unchanged. A leader with a wrong clock therefore does not lead for longer, and one that was
//! away does not lose the lease because of time stamps.

mod candidate;

use std::time::Duration;

use ebb_core::Tick;

pub use candidate::Candidate;

/// Who leads according to a Lease, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The leader; `None` if it has released the lease.
    pub holder: Option<String>,
    /// Time without a change after which the lease can be taken.
    pub duration: Duration,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// We lead until then. Renew the lease before.
    Lead {
        /// From then on we must not act as the leader, unless the lease was renewed.
        until: Tick,
    },
    /// The lease is free: write our name into it. The first to write wins.
    Take,
    /// Another program leads. Check again then, or when the lease changes.
    Follow {
        /// When the lease becomes free, unless it was renewed.
        until: Tick,
    },
}

/// A leader stops this fraction of the lease's duration before others take it, so that its last writes arrive before
/// theirs.
const MARGIN: u32 = 3;

/// Returns who leads at `now`, if the Lease has been unchanged at least since `observed_since`. `tenure` is `None` if
/// there is no Lease.
///
/// For our own lease, `observed_since` is when the request that renewed it was *sent*.
pub fn evaluate(tenure: Option<&Tenure>, me: &str, observed_since: Tick, now: Tick) -> Verdict {
    let Some(Tenure { holder, duration }) = tenure else { return Verdict::Take };
    match holder {
        None => Verdict::Take,
        Some(holder) if holder == me => {
            let until = observed_since.after(duration.saturating_sub(*duration / MARGIN));
            if now < until { Verdict::Lead { until } } else { Verdict::Take }
        }
        Some(_) => {
            let until = observed_since.after(*duration);
            if now < until { Verdict::Follow { until } } else { Verdict::Take }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn held_by(holder: &str) -> Tenure {
        Tenure { holder: Some(holder.to_owned()), duration: DURATION }
    }

    fn at(second: u64) -> Tick {
        Tick::from_secs(second)
    }

    #[test]
    fn a_lease_that_is_nobodys_is_taken() {
        assert_eq!(evaluate(None, "me", at(0), at(0)), Verdict::Take);
        let given_up = Tenure { holder: None, duration: DURATION };
        assert_eq!(evaluate(Some(&given_up), "me", at(0), at(0)), Verdict::Take);
    }

    #[test]
    fn anothers_lease_is_taken_once_it_stood_still_for_its_whole_duration() {
        let theirs = held_by("other");
        assert_eq!(evaluate(Some(&theirs), "me", at(100), at(114)), Verdict::Follow { until: at(115) });
        assert_eq!(evaluate(Some(&theirs), "me", at(100), at(115)), Verdict::Take);
        // The renewal time in the lease does not matter, because it is from another clock.
        assert_eq!(evaluate(Some(&theirs), "me", at(900), at(900)), Verdict::Follow { until: at(915) });
    }

    #[test]
    fn a_leader_stops_before_others_may_begin() {
        let ours = held_by("me");
        assert_eq!(evaluate(Some(&ours), "me", at(100), at(109)), Verdict::Lead { until: at(110) });
        assert_eq!(evaluate(Some(&ours), "me", at(100), at(110)), Verdict::Take);
    }

    proptest! {
        /// The clocks of two candidates may differ by any amount; only their speed must be the same.
        #[test]
        fn two_never_lead_at_the_same_time(
            sent in 0_u64..1_000_000,
            seen_later in 0_u64..30_000,
            offset in 0_u64..1_000_000_000,
            looked_later in 0_u64..60_000,
        ) {
            let lease = held_by("a");
            let real = |ms: u64| Tick::from_millis(ms);
            let of_b = |ms: u64| Tick::from_millis(ms + offset);
            // B cannot have seen the record before A sent it.
            let now = sent + seen_later + looked_later;
            let a = evaluate(Some(&lease), "a", real(sent), real(now));
            let b = evaluate(Some(&lease), "b", of_b(sent + seen_later), of_b(now));
            let both = matches!(a, Verdict::Lead { .. }) && b == Verdict::Take;
            prop_assert!(!both, "{a:?} and {b:?}");
        }
    }
}
