//! The steps of a cold start, between a request that found no pod and its first byte at the app.

use std::time::Duration;

use ebb_core::Tick;

use crate::pod::Timeline;

/// A cold start: a service without pods, woken by a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdStart {
    /// The service.
    pub service: String,
    /// The pod that took the request.
    pub pod: String,
    /// When the request was held.
    pub held_at: Tick,
    /// When the autoscaler had decided, and told the machine to start a pod.
    pub decided_at: Tick,
    /// When the pod's process was started.
    pub spawned_at: Tick,
    /// When the app listened: as the app reported it, or otherwise as it was found.
    pub listening_at: Tick,
    /// When the queue-proxy had found that the app answers.
    pub ready_at: Tick,
    /// When the activator had a place for the request.
    pub dispatched_at: Tick,
    /// When the queue-proxy sent the request to the app.
    pub first_byte_at: Tick,
}

/// The phases of a cold start, which add up to its total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// From held to decided.
    pub decide: Duration,
    /// From decided to the start of the process.
    pub spawn: Duration,
    /// From the process's start to the app listening: the app's own time.
    pub start: Duration,
    /// From listening to that being noticed.
    pub notice: Duration,
    /// From noticed to the request being sent to the app.
    pub dispatch: Duration,
}

impl ColdStart {
    /// Assembles a cold start. Returns `None` while a step is missing, and if the pod existed before the
    /// request, because then the start was already under way.
    pub(crate) fn of(
        dispatch: &activator::HeldDispatch,
        timeline: &Timeline,
        listening_at: Option<Tick>,
    ) -> Option<Self> {
        let (woken_at, spawned_at) = (timeline.woken_at?, timeline.spawned_at?);
        let ready_at = timeline.ready_at?;
        let cold = dispatch.cold && dispatch.held_at <= woken_at;
        cold.then_some(Self {
            service: dispatch.service.name.clone(),
            pod: dispatch.pod.clone(),
            held_at: dispatch.held_at,
            decided_at: woken_at,
            spawned_at,
            listening_at: listening_at.unwrap_or(ready_at).clamp(spawned_at, ready_at),
            ready_at,
            dispatched_at: dispatch.dispatched_at,
            first_byte_at: timeline.first_request_at?,
        })
    }

    /// Returns the time from the request's arrival until its first byte was sent to the app.
    pub fn total(&self) -> Duration {
        self.first_byte_at.since(self.held_at)
    }

    /// Returns Ebb's own share: the total without the app's time from its process's start until it listened.
    pub fn own(&self) -> Duration {
        self.total().saturating_sub(self.listening_at.since(self.spawned_at))
    }

    /// Returns the phases.
    pub fn phases(&self) -> Phases {
        Phases {
            decide: self.decided_at.since(self.held_at),
            spawn: self.spawned_at.since(self.decided_at),
            start: self.listening_at.since(self.spawned_at),
            notice: self.ready_at.since(self.listening_at),
            dispatch: self.first_byte_at.since(self.ready_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use activator::HeldDispatch;
    use ebb_core::ServiceKey;

    use super::*;

    fn ms(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    fn dispatch() -> HeldDispatch {
        HeldDispatch {
            service: ServiceKey::new("local", "web"),
            pod: "web-1".into(),
            held_at: ms(1_000),
            dispatched_at: ms(1_508),
            cold: true,
        }
    }

    const TIMELINE: Timeline = Timeline {
        woken_at: Some(Tick::from_millis(1_001)),
        spawned_at: Some(Tick::from_millis(1_002)),
        ready_at: Some(Tick::from_millis(1_507)),
        first_request_at: Some(Tick::from_millis(1_509)),
    };

    #[test]
    fn the_phases_add_up_and_the_apps_own_time_is_not_ours() {
        let cold = ColdStart::of(&dispatch(), &TIMELINE, Some(ms(1_504))).unwrap();
        let Phases { decide, spawn, start, notice, dispatch } = cold.phases();
        assert_eq!([decide, spawn, start, notice, dispatch].map(|d| d.as_millis()), [1, 1, 502, 3, 2]);
        assert_eq!(decide + spawn + start + notice + dispatch, cold.total());
        assert_eq!(cold.own(), Duration::from_millis(7));
    }

    #[test]
    fn a_start_is_told_of_only_when_all_its_steps_are_known() {
        assert!(TIMELINE.is_complete());
        let unnoticed = Timeline { ready_at: None, ..TIMELINE };
        assert!(!unnoticed.is_complete());
        assert_eq!(ColdStart::of(&dispatch(), &unnoticed, None), None);
    }

    #[test]
    fn a_pod_that_was_there_before_the_request_makes_no_cold_start() {
        let before = Timeline { woken_at: Some(ms(999)), ..TIMELINE };
        assert_eq!(ColdStart::of(&dispatch(), &before, None), None);
        let more_pods = Timeline { woken_at: None, ..TIMELINE };
        assert_eq!(ColdStart::of(&dispatch(), &more_pods, None), None);
        let warm = HeldDispatch { cold: false, ..dispatch() };
        assert_eq!(ColdStart::of(&warm, &TIMELINE, None), None);
    }

    #[test]
    fn an_app_that_claims_to_have_listened_before_it_ran_is_not_believed() {
        let cold = ColdStart::of(&dispatch(), &TIMELINE, Some(ms(5))).unwrap();
        assert_eq!(cold.listening_at, cold.spawned_at);
    }
}
