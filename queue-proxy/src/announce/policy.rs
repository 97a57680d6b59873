use std::time::Duration;

use ebb_core::backoff;
use http::StatusCode;

/// How often, and for how long, something is said to an autoscaler that does not take it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Before the second try.
    pub(super) first_pause: Duration,
    /// Pauses double up to this.
    pub(super) longest_pause: Duration,
    /// After so long nobody would profit from it any more.
    pub(super) limit: Duration,
    /// No more tries than this.
    pub(super) tries: u32,
}

/// A pod that comes. What it says may be ahead of what the autoscaler watches by some milliseconds; a network that
/// is just being made, or an autoscaler that restarts, takes seconds. After a minute the API server has told long ago.
pub(super) const COMING: Patience = Patience {
    first_pause: Duration::from_millis(10),
    longest_pause: Duration::from_secs(1),
    limit: Duration::from_secs(60),
    tries: u32::MAX,
};

/// A pod that leaves. Requests that still come are served meanwhile: it is not worth much trouble.
pub(super) const LEAVING: Patience = Patience {
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(500),
    limit: Duration::from_secs(3),
    tries: 4,
};

/// What to do after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It was taken.
    Taken,
    /// It never will be.
    Refused,
    /// It may be some time, and nobody waits any longer.
    GivenUp,
    /// Try again after so long.
    Again(Duration),
}

impl Patience {
    /// What to do after the `tries`th try, `elapsed` since the first one began, that was answered with `status`; or
    /// not at all.
    pub(super) fn next(&self, status: Option<StatusCode>, tries: u32, elapsed: Duration) -> Next {
        match status {
            Some(status) if status.is_success() => return Next::Taken,
            Some(StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::GONE) => return Next::Refused,
            _ => {}
        }
        let pause = backoff::pause([self.first_pause, self.longest_pause], tries);
        if tries >= self.tries || elapsed.saturating_add(pause) >= self.limit {
            Next::GivenUp
        } else {
            Next::Again(pause)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;

    fn again(millis: u64) -> Next {
        Next::Again(Duration::from_millis(millis))
    }

    #[test]
    fn an_answer_that_will_not_change_ends_it() {
        for (status, want) in [
            (204, Next::Taken),
            (200, Next::Taken),
            (400, Next::Refused),
            (403, Next::Refused),
            (410, Next::Refused),
            (404, again(10)),
            (503, again(10)),
            (502, again(10)),
            (302, again(10)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(COMING.next(Some(status), 1, START), want, "{status}");
        }
        assert_eq!(COMING.next(None, 1, START), again(10), "nobody answered");
    }

    #[test]
    fn pauses_grow_to_a_second_and_end_after_a_minute() {
        let (mut at, mut tries, mut pauses) = (START, 0, Vec::new());
        let ended = loop {
            tries += 1;
            match COMING.next(None, tries, at) {
                Next::Again(pause) => {
                    pauses.push(pause.as_millis());
                    at += pause;
                }
                ended => break ended,
            }
        };
        assert_eq!(pauses[..9], [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!((ended, at.as_secs()), (Next::GivenUp, 59));
        assert_eq!(
            COMING.next(None, u32::MAX - 1, START),
            again(1000),
            "a pause is never too long for its type"
        );
    }

    #[test]
    fn a_pod_that_leaves_says_so_a_few_times_and_no_more() {
        let pauses: Vec<Next> = (1..=4).map(|tries| LEAVING.next(None, tries, START)).collect();
        assert_eq!(pauses, [again(20), again(40), again(80), Next::GivenUp]);
        assert_eq!(LEAVING.next(None, 2, Duration::from_secs(3)), Next::GivenUp);
    }
}
