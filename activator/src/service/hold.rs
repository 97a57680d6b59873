//! From a request's arrival to its place at a pod, and back: the shell around the [`Throttler`].
//!
//! Two rules prevent deadlock. The state's lock is never held while a [`Place`] is dropped, because dropping
//! takes the lock. And each decision becomes a guard before the lock is released, so that a request whose
//! client leaves at any point gives back what it has.
//!
//! [`Throttler`]: crate::throttler::Throttler

use std::{sync::Arc, time::Duration};

use ebb_core::{ServiceKey, Tick};
use ebb_proxy::RequestBody;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use super::{Known, Service};
use crate::{
    errors::Refused,
    pod::Pod,
    throttler::{Outcome, Ticket},
};

/// The delay before a failed pod is asked again. It answers at once if only one request failed.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// The first held request that a pod took: a cold start, or part of a scale-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldDispatch {
    /// The service.
    pub service: ServiceKey,
    /// The pod that took it.
    pub pod: String,
    /// When the request was held.
    pub held_at: Tick,
    /// When the pod had a place for it.
    pub dispatched_at: Tick,
    /// Whether no pod was ready when it was held.
    pub cold: bool,
}

/// A place at a pod. Dropping it gives the place to the next request.
#[derive(Debug)]
pub(crate) struct Place {
    service: Arc<Service>,
    pub(crate) pod: Arc<Pod>,
    /// The request's position in the queue, if it was held.
    ticket: Option<Ticket>,
    /// Whether this is the first held request that the pod takes.
    is_first: bool,
    outcome: Outcome,
}

impl Place {
    /// Records that the pod did not take the request: it gets no more until it is found ready again. Returns
    /// the request's position, if it was held.
    pub(crate) fn failed(mut self) -> Option<Ticket> {
        self.is_failing();
        self.ticket
    }

    /// Does the same once the request in this place has ended.
    pub(crate) const fn is_failing(&mut self) {
        self.outcome = Outcome::PodFailed;
    }

    /// Releases the place without blaming the pod. Returns the request's position, if it was held.
    pub(crate) fn ended(self) -> Option<Ticket> {
        self.ticket
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.service.release(&self.pod, self.outcome);
    }
}

enum Entered {
    Placed(Place),
    Waiting(Waiting),
}

/// A position in the queue, given up when dropped, along with a place at a pod that was granted meanwhile.
struct Waiting {
    service: Arc<Service>,
    ticket: Ticket,
    granted: oneshot::Receiver<Place>,
    held_at: Tick,
    /// Whether no pod was ready when it was held.
    cold: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.service.state.lock();
        state.throttler.cancel(self.ticket);
        self.service.show_held(&state);
    }
}

impl Service {
    /// Resolves to a place at a pod as soon as one is free.
    ///
    /// While the request waits, the beginning of `body` is read, so that a client that leaves is noticed.
    pub(crate) async fn place(
        self: &Arc<Self>,
        arrived_at: Tick,
        ticket: Option<Ticket>,
        body: &mut RequestBody,
        deadline: Instant,
    ) -> Result<Place, Refused> {
        let mut waiting = match self.enter(arrived_at, ticket)? {
            Entered::Placed(place) => return Ok(place),
            Entered::Waiting(waiting) => waiting,
        };
        let expired = sleep_until(deadline);
        tokio::pin!(expired);
        loop {
            tokio::select! {
                biased; // a place granted at the last moment is taken
                place = &mut waiting.granted => {
                    let place = place.map_err(|_| Refused::ServiceGone)?;
                    self.observe(&place, &waiting);
                    return Ok(place);
                }
                () = &mut expired => {
                    self.count_unanswered(&waiting);
                    let settings = self.settings.load();
                    return Err(Refused::ActivationDeadline {
                        waited: settings.activation_deadline,
                        trouble: settings.trouble.clone(),
                    });
                }
                () = body.read_ahead() => if body.has_failed() {
                    return Err(Refused::ClientGone);
                },
            }
        }
    }

    /// Counts a request that gave up, if no pod is ready and none was when it was held. Requests that waited
    /// for busy pods do not count.
    fn count_unanswered(&self, waited: &Waiting) {
        if waited.cold && self.state.lock().throttler.ready_pods() == 0 {
            self.reporter.lock().gave_up();
        }
    }

    /// Returns a position behind all held requests, for a request that was never held and comes back.
    pub(crate) fn late_ticket(&self) -> Ticket {
        self.state.lock().throttler.late_ticket()
    }

    fn enter(self: &Arc<Self>, held_at: Tick, ticket: Option<Ticket>) -> Result<Entered, Refused> {
        let now = self.shared.clock.now();
        let (sender, granted) = oneshot::channel();
        let mut state = self.state.lock();
        if ticket.is_none()
            && let Some(pod) = state.throttler.try_dispatch(now, &mut rand::rng())
            && let Some(known) = state.pods.get(&pod)
        {
            return Ok(Entered::Placed(self.place_at(known, None, false)));
        }
        if state.gone {
            return Err(Refused::ServiceGone);
        }
        let cold = state.throttler.ready_pods() == 0;
        let ticket = match ticket {
            Some(ticket) => {
                state.throttler.hold_again(ticket, sender);
                ticket
            }
            None => state.throttler.hold(sender).map_err(|_| Refused::QueueFull(state.throttler.held()))?,
        };
        self.show_held(&state);
        drop(state);
        let waiting = Waiting { service: self.clone(), ticket, granted, held_at, cold };
        // A place may have become free, and an allowance may grow by time alone.
        self.wake();
        Ok(Entered::Waiting(waiting))
    }

    fn place_at(self: &Arc<Self>, known: &Known, ticket: Option<Ticket>, is_first: bool) -> Place {
        Place { service: self.clone(), pod: known.pod.clone(), ticket, is_first, outcome: Outcome::Ended }
    }

    /// Calls the observer for the first held request that a pod took.
    fn observe(&self, place: &Place, waited: &Waiting) {
        if let (true, Some(observer)) = (place.is_first, &self.shared.observer) {
            let dispatch = HeldDispatch {
                service: self.key.clone(),
                pod: place.pod.entry.name.clone(),
                held_at: waited.held_at,
                dispatched_at: self.shared.clock.now(),
                cold: waited.cold,
            };
            if observer.try_send(dispatch).is_err() {
                self.shared.metrics.lost_observations.inc();
            }
        }
    }

    fn release(self: &Arc<Self>, pod: &Arc<Pod>, outcome: Outcome) {
        {
            let mut state = self.state.lock();
            let set_aside = state.throttler.release(pod.id, outcome);
            if outcome == Outcome::PodFailed {
                self.metrics.pod_failures.inc();
            }
            // Only the first failure starts a new probe. Later failures, of requests that the pod already
            // had, must not restart it.
            if set_aside
                && let Some(known) = state.pods.get_mut(&pod.id)
                && let Some(before) = known.probing.replace(self.probe(pod.clone(), AFTER_FAILURE))
            {
                before.abort();
            }
        }
        self.wake();
    }

    /// Grants places to the next requests, and starts a timer if time alone will free more.
    pub(super) fn wake(self: &Arc<Self>) {
        let now = self.shared.clock.now();
        let (grants, pace) = {
            let mut state = self.state.lock();
            let grants: Vec<_> = state
                .throttler
                .grants(now, &mut rand::rng())
                .into_iter()
                .filter_map(|grant| {
                    // Settled here, oldest first, because tasks run in random order. And before the place is
                    // created: dropping it here would wait for the lock that we hold.
                    let known = state.pods.get_mut(&grant.pod)?;
                    let is_first = !std::mem::replace(&mut known.used, true);
                    Some((grant.waiter, self.place_at(known, Some(grant.ticket), is_first)))
                })
                .collect();
            let pace = state.throttler.next_wake(now).filter(|_| !state.pacing);
            state.pacing |= pace.is_some();
            self.show_held(&state);
            (grants, pace)
        };
        for (waiter, place) in grants {
            // If the waiter has just left, its place is dropped here and wakes the next: outside the lock.
            drop(waiter.send(place));
        }
        if let Some(pause) = pace {
            self.wake_after(pause);
        }
    }

    fn wake_after(self: &Arc<Self>, pause: Duration) {
        let service = Arc::downgrade(self);
        // Ends after one pause; at most one runs at a time.
        tokio::spawn(async move {
            sleep(pause).await;
            if let Some(service) = service.upgrade() {
                service.state.lock().pacing = false;
                service.wake();
            }
        });
    }
}
