use std::time::Duration;

use ebb_core::backoff;
use http::StatusCode;

/// How often, and for how long, to repeat an announcement that an autoscaler does not accept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Pause before the second attempt.
    pub(super) first_pause: Duration,
    /// Pauses double up to this.
    pub(super) longest_pause: Duration,
    /// Time after which an announcement is of no use any more.
    pub(super) limit: Duration,
    /// Maximum number of attempts.
    pub(super) tries: u32,
}

/// For a pod that comes. Its announcement may be some milliseconds ahead of what the autoscaler has seen from the API
/// server. A network that is just being created, or an autoscaler that restarts, takes seconds. After a minute, the
/// API server has told the autoscaler long ago.
pub(super) const COMING: Patience = Patience {
    first_pause: Duration::from_millis(10),
    longest_pause: Duration::from_secs(1),
    limit: Duration::from_secs(60),
    tries: u32::MAX,
};

/// For a pod that leaves. It still serves requests that arrive, so this is not worth much effort.
pub(super) const LEAVING: Patience = Patience {
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(500),
    limit: Duration::from_secs(3),
    tries: 4,
};

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The announcement was accepted.
    Taken,
    /// It will never be accepted.
    Refused,
    /// It was not accepted in time; stop trying.
    GivenUp,
    /// Try again after this pause.
    Again(Duration),
}

impl Patience {
    /// Returns what to do after attempt number `tries`, `elapsed` after the start of the first one. `status` is the
    /// answer, or `None` without one.
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
