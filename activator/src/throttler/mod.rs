//! Decides which requests wait, in which order, and which pod takes each.
//!
//! The throttler has no clock, lock or socket: every method takes the time and the randomness that it needs,
//! and [`Throttler::grants`] returns the requests to wake. It follows three rules:
//!
//! - **First come, first served.** No request overtakes the queue; a request that comes back because its pod
//!   could not be reached returns to its old position.
//! - **A pod gets what it declared, or a growing allowance.** If a service declares how many requests a pod
//!   may execute, no pod gets more. Otherwise a new pod gets a few and then more and more (`slow_start`): all
//!   held requests at once could kill it.
//! - **A part of the pods, if there is a limit and there are other activators.** So they keep the limit
//!   together (`share`). The `placement` chooses the pod within the part.
//!
//! Changes move no requests: a request stays at its pod, even if that pod is no longer in this activator's
//! part.

mod placement;
mod share;
mod slow_start;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use ebb_core::Tick;
use rand::Rng;

use placement::{Candidate, Placement, Policy};
use share::Part;
use slow_start::SlowStart;

pub use share::Share;

/// Identifies a pod for as long as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId(pub u64);

/// A position in the queue. Lower ones have waited longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// The limits of a service, and this activator's share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most requests that one pod may execute at once; `None` is unlimited.
    pub per_pod: Option<NonZeroU32>,
    /// The most requests that are held.
    pub queue_depth: usize,
    /// This activator's place among those that keep `per_pod` together.
    pub share: Share,
    /// Whether to choose pods, and to share them among activators, as the reference does.
    pub reference_placement: bool,
}

impl Limits {
    const fn policy(self) -> Policy {
        if self.reference_placement { Policy::of_reference(self.per_pod) } else { Policy::LessBusyOfTwo }
    }

    /// Returns this activator's part of `pods` pods. Without a limit there is nothing to divide.
    fn part_of(self, pods: usize) -> Part {
        let share = if self.per_pod.is_some() { self.share } else { Share::ALONE };
        share.part_of(u32::try_from(pods).unwrap_or(u32::MAX))
    }

    /// Returns the most requests that this activator may have at each pod of its `part`; `None` is unlimited.
    fn at_each_of(self, part: &Part) -> Option<u32> {
        let limit = self.per_pod?;
        Some(if self.reference_placement { limit.get() } else { part.of_limit(limit) })
    }
}

/// How a request ended at its pod, as far as it concerns the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, or its client went away.
    Ended,
    /// The pod could not be reached, or returned the request: it gets no more until it is found ready.
    PodFailed,
}

/// A held request that gets a place.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant<W> {
    /// What was passed to hold it.
    pub waiter: W,
    /// Its position, in case it must come back.
    pub ticket: Ticket,
    /// Its pod.
    pub pod: PodId,
}

/// The queue and pods of one service. `W` wakes a held request.
#[derive(Debug)]
pub struct Throttler<W> {
    limits: Limits,
    /// Sorted by address, so that all activators number them alike.
    pods: Vec<Member>,
    placement: Placement,
    /// Sorted by ticket.
    queue: VecDeque<(Ticket, W)>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Member {
    id: PodId,
    address: Box<str>,
    in_flight: u32,
    ready: Option<SlowStart>,
}

impl<W> Throttler<W> {
    /// Creates an empty queue without pods.
    pub fn new(limits: Limits) -> Self {
        let placement = Placement::default();
        Self { limits, pods: Vec::new(), placement, queue: VecDeque::new(), next_ticket: 0 }
    }

    /// Returns the number of held requests.
    pub fn held(&self) -> usize {
        self.queue.len()
    }

    /// Returns the number of pods that take requests, including those left to other activators.
    pub fn ready_pods(&self) -> usize {
        self.pods.iter().filter(|pod| pod.ready.is_some()).count()
    }

    /// Returns all known pods.
    pub fn pods(&self) -> impl Iterator<Item = PodId> + '_ {
        self.pods.iter().map(|pod| pod.id)
    }

    /// Changes the limits. Lower limits interrupt no request.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Adds a pod. It takes nothing until it is ready.
    pub fn add_pod(&mut self, id: PodId, address: &str) {
        if !self.pods.iter().any(|pod| pod.id == id) {
            let at = self.pods.partition_point(|pod| *pod.address < *address);
            self.pods.insert(at, Member { id, address: address.into(), in_flight: 0, ready: None });
        }
    }

    /// Holds no more requests; those that a pod can take at once are still placed.
    pub fn refuse_waiting(&mut self) {
        self.queue.clear();
    }

    /// Removes a pod that drains or is gone. Its requests continue; it gets no more.
    pub fn remove_pod(&mut self, id: PodId) {
        self.pods.retain(|pod| pod.id != id);
    }

    /// Marks a pod as ready.
    pub fn pod_ready(&mut self, id: PodId, now: Tick) {
        if let Some(pod) = self.pod_mut(id)
            && pod.ready.is_none()
        {
            pod.ready = Some(SlowStart::new(now));
        }
    }

    /// Takes a place at a pod for a new request, if none is held and a pod has room.
    pub fn try_dispatch(&mut self, now: Tick, rng: &mut impl Rng) -> Option<PodId> {
        if self.queue.is_empty() { self.occupy(now, rng) } else { None }
    }

    /// Puts a new request at the end of the queue.
    ///
    /// # Errors
    ///
    /// Returns `waiter` if the queue is full.
    pub fn hold(&mut self, waiter: W) -> Result<Ticket, W> {
        if self.queue.len() >= self.limits.queue_depth {
            return Err(waiter);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.queue.push_back((ticket, waiter));
        Ok(ticket)
    }

    /// Returns a position behind all held requests, for a request that was never held and comes back.
    pub fn late_ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    /// Returns a request to its old position. It was admitted before, so a full queue does not refuse it.
    pub fn hold_again(&mut self, ticket: Ticket, waiter: W) {
        let index = self.queue.partition_point(|(other, _)| *other < ticket);
        self.queue.insert(index, (ticket, waiter));
    }

    /// Removes a held request whose client went away.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<W> {
        let index = self.queue.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        self.queue.remove(index).map(|(_, waiter)| waiter)
    }

    /// Records the end of a request at `pod`. Returns whether this sets the pod aside: it must be found ready
    /// again, and no probe has started yet.
    pub fn release(&mut self, pod: PodId, outcome: Outcome) -> bool {
        let Some(pod) = self.pod_mut(pod) else { return false };
        pod.in_flight = pod.in_flight.saturating_sub(1);
        match outcome {
            Outcome::Ended => {
                if let Some(slow_start) = &mut pod.ready {
                    slow_start.completed();
                }
                false
            }
            Outcome::PodFailed => pod.ready.take().is_some(),
        }
    }

    /// Returns the requests that get a place, oldest first. Call it after every change.
    pub fn grants(&mut self, now: Tick, rng: &mut impl Rng) -> Vec<Grant<W>> {
        let mut grants = Vec::new();
        while !self.queue.is_empty() {
            let Some(pod) = self.occupy(now, rng) else { break };
            if let Some((ticket, waiter)) = self.queue.pop_front() {
                grants.push(Grant { waiter, ticket, pod });
            }
        }
        grants
    }

    /// Returns how long from `now` until time alone frees a place; `None` if only an event can.
    pub fn next_wake(&self, now: Tick) -> Option<Duration> {
        if self.queue.is_empty() || self.limits.per_pod.is_some() {
            return None;
        }
        self.pods.iter().filter_map(|pod| pod.ready?.grows_in(now)).min()
    }

    /// Takes a place at one of this activator's pods.
    fn occupy(&mut self, now: Tick, rng: &mut impl Rng) -> Option<PodId> {
        let part = self.limits.part_of(self.ready_pods());
        let roomy = self.roomy(&part, now);
        let chosen = self.placement.choose(self.limits.policy(), &roomy, part.pods(), rng)?;
        let pod = self.pods.get_mut(chosen.at)?;
        pod.in_flight += 1;
        Some(pod.id)
    }

    /// Returns the pods of `part` that have room. A single loop: iterators were five to ten times slower.
    fn roomy(&self, part: &Part, now: Tick) -> Vec<Candidate> {
        let limit = self.limits.at_each_of(part);
        let mut roomy = Vec::new();
        let (mut ready, mut place) = (0, 0);
        for (at, pod) in self.pods.iter().enumerate() {
            let Some(since) = pod.ready else { continue };
            if part.contains(ready) {
                if pod.in_flight < limit.unwrap_or_else(|| since.allowance(now)) {
                    roomy.push(Candidate { place, at, in_flight: pod.in_flight });
                }
                place += 1;
            }
            ready += 1;
        }
        roomy
    }

    fn pod_mut(&mut self, id: PodId) -> Option<&mut Member> {
        self.pods.iter_mut().find(|pod| pod.id == id)
    }
}
