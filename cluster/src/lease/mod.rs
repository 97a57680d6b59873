//! Which of several programs leads: the one whose name is in a Lease, as long as it keeps renewing it.
//!
//! [`evaluate`] is the whole decision. No clock of another machine is believed: what counts is for how long the
//! record has stood unchanged before our own eyes. So a leader whose clock is wrong leads no longer, and one that
//! was away is not overruled by time stamps.

mod candidate;

use std::time::Duration;

use ebb_core::Tick;

pub use candidate::Candidate;

/// For how long whom a Lease has lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// Who leads; `None` if it was given up.
    pub holder: Option<String>,
    /// Unchanged for so long, it is nobody's any more.
    pub duration: Duration,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is ours, until then. Renew it before.
    Lead {
        /// We must not act as the leader any more from then on, unless it was renewed.
        until: Tick,
    },
    /// It is nobody's: write our name into it. Whoever writes first wins.
    Take,
    /// It is another's. Look again then, or when it changes.
    Follow {
        /// When it is nobody's, unless it was renewed.
        until: Tick,
    },
}

/// A leader gives up this part of the lease's duration before the others take it: writes of ours that are on their
/// way by then arrive before theirs.
const MARGIN: u32 = 3;

/// Who leads at `now`, if the Lease (`tenure` is `None`: there is none) has been as it is at least since `observed_since`.
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
        // However long ago it was renewed by its own word: that is another clock's.
        assert_eq!(evaluate(Some(&theirs), "me", at(900), at(900)), Verdict::Follow { until: at(915) });
    }

    #[test]
    fn a_leader_stops_before_others_may_begin() {
        let ours = held_by("me");
        assert_eq!(evaluate(Some(&ours), "me", at(100), at(109)), Verdict::Lead { until: at(110) });
        assert_eq!(evaluate(Some(&ours), "me", at(100), at(110)), Verdict::Take);
    }

    proptest! {
        /// The clocks of two candidates may differ by any amount; only the speed at which they go is alike.
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
