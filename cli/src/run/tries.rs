//! Decides whether starting a service once more could help.

/// How often a pod's process may end, if none was ever ready, before another start will not help.
const ENOUGH: u32 = 5;

/// The starts of a service so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    /// How often one pod's process ended.
    ended: u32,
    was_ready: bool,
}

impl Tries {
    /// Records how often a pod's process has ended, and whether the pod was ever ready.
    pub(super) fn see(&mut self, ended: u32, was_ready: bool) {
        self.ended = self.ended.max(ended);
        self.was_ready |= was_ready;
    }

    /// Returns whether the service was tried often enough, and was never ready.
    pub(super) const fn are_in_vain(self) -> bool {
        self.ended >= ENOUGH && !self.was_ready
    }
}

/// Returns whether to give up: no service can be started, and no request is held. Each service is given with
/// its held requests.
pub(super) fn are_over(services: &[(Tries, usize)]) -> bool {
    !services.is_empty() && services.iter().all(|(tries, held)| tries.are_in_vain() && *held == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(ended: u32, was_ready: bool) -> Tries {
        let mut tries = Tries::default();
        tries.see(ended, was_ready);
        tries
    }

    #[test]
    fn it_is_over_when_every_service_was_tried_in_vain_and_nobody_is_held() {
        let (new, fresh, vain, once_ready) =
            (tries(0, false), tries(4, false), tries(5, false), tries(9, true));
        for (services, over) in [
            (&[][..], false),
            (&[(new, 0)], false),
            (&[(fresh, 0)], false),
            (&[(vain, 0)], true),
            (&[(vain, 1)], false),
            (&[(once_ready, 0)], false),
            (&[(vain, 0), (vain, 0)], true),
            (&[(vain, 0), (vain, 1)], false),
            (&[(vain, 0), (fresh, 0)], false),
            (&[(once_ready, 0), (vain, 0)], false),
        ] {
            assert_eq!(are_over(services), over, "{services:?}");
        }
    }

    #[test]
    fn what_was_seen_once_stays_seen() {
        let mut seen = tries(5, false);
        // Its pod went, and a new one came.
        seen.see(0, false);
        assert!(seen.are_in_vain());
        seen.see(0, true);
        seen.see(9, false);
        assert!(!seen.are_in_vain());
    }
}
