//! Who waits, who is next, and which pod takes it.
//!
//! A value without clock, lock or socket: every method takes the time and the randomness it needs, and
//! [`Throttler::grants`] tells whom to wake. Three rules:
//!
//! - **First come, first served.** Nobody overtakes the queue; a request that comes back because its pod
//!   could not be reached returns to where it stood.
//! - **A pod gets what it declared, or a growing allowance.** Where a service declares how many requests a pod
//!   may execute, no pod gets more. Where it does not, a newborn pod gets a few and then more and more
//!   (`slow_start`): all that was held at once could kill it.
//! - **A part of the pods, where there is a limit and other activators.** So that they keep to it together
//!   (`share`). Which pod of its part takes a request is a `placement`'s choice.
//!
//! What changes moves nothing: a request stays at the pod that it is at, though it be no longer one of ours.

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

/// Names a pod for as long as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId(pub u64);

/// A place in the queue. The lower, the longer it has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What a service allows, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that one pod may execute at once; `None` is unlimited.
    pub per_pod: Option<NonZeroU32>,
    /// Requests held at most.
    pub queue_depth: usize,
    /// This activator's place among those that keep to `per_pod` together.
    pub share: Share,
    /// Whether pods are chosen, and shared by more activators than there are pods, as the reference does.
    pub reference_placement: bool,
}

impl Limits {
    const fn policy(self) -> Policy {
        if self.reference_placement { Policy::of_reference(self.per_pod) } else { Policy::LessBusyOfTwo }
    }

    /// This activator's part of `pods` pods. Without a limit there is nothing that could be exceeded together.
    fn part_of(self, pods: usize) -> Part {
        let share = if self.per_pod.is_some() { self.share } else { Share::ALONE };
        share.part_of(u32::try_from(pods).unwrap_or(u32::MAX))
    }

    /// Requests that this activator may have at once at a pod of its `part`; `None` is unlimited.
    fn at_each_of(self, part: &Part) -> Option<u32> {
        let limit = self.per_pod?;
        Some(if self.reference_placement { limit.get() } else { part.of_limit(limit) })
    }
}

/// How a request ended at its pod, as far as the pod is to be judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, or its client went away.
    Ended,
    /// The pod could not be reached, or gave the request back: it gets no more until it is found ready.
    PodFailed,
}

/// A held request whose turn has come.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant<W> {
    /// Whatever was held.
    pub waiter: W,
    /// Its place, for the case that it must come back.
    pub ticket: Ticket,
    /// Where it goes.
    pub pod: PodId,
}

/// One service's queue and pods. `W` is what wakes a held request.
#[derive(Debug)]
pub struct Throttler<W> {
    limits: Limits,
    /// Sorted by address, so that all activators know them by the same places.
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
    /// A queue without pods.
    pub fn new(limits: Limits) -> Self {
        let placement = Placement::default();
        Self { limits, pods: Vec::new(), placement, queue: VecDeque::new(), next_ticket: 0 }
    }

    /// Requests held.
    pub fn held(&self) -> usize {
        self.queue.len()
    }

    /// Pods that take requests, those that are left to other activators among them.
    pub fn ready_pods(&self) -> usize {
        self.pods.iter().filter(|pod| pod.ready.is_some()).count()
    }

    /// Pods that are known.
    pub fn pods(&self) -> impl Iterator<Item = PodId> + '_ {
        self.pods.iter().map(|pod| pod.id)
    }

    /// The service's annotations changed, or who shares it. Less interrupts nobody.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// A pod appeared. It takes nothing before it is ready.
    pub fn add_pod(&mut self, id: PodId, address: &str) {
        if !self.pods.iter().any(|pod| pod.id == id) {
            let at = self.pods.partition_point(|pod| *pod.address < *address);
            self.pods.insert(at, Member { id, address: address.into(), in_flight: 0, ready: None });
        }
    }

    /// Nobody waits any more; what could be placed at once still can.
    pub fn refuse_waiting(&mut self) {
        self.queue.clear();
    }

    /// A pod drains or is gone. What it has goes on; it gets nothing more.
    pub fn remove_pod(&mut self, id: PodId) {
        self.pods.retain(|pod| pod.id != id);
    }

    /// A pod was found ready.
    pub fn pod_ready(&mut self, id: PodId, now: Tick) {
        if let Some(pod) = self.pod_mut(id)
            && pod.ready.is_none()
        {
            pod.ready = Some(SlowStart::new(now));
        }
    }

    /// Takes a place at a pod for a new request, if nobody waits and a pod has room.
    pub fn try_dispatch(&mut self, now: Tick, rng: &mut impl Rng) -> Option<PodId> {
        if self.queue.is_empty() { self.occupy(now, rng) } else { None }
    }

    /// Puts a new request at the end of the queue.
    ///
    /// # Errors
    ///
    /// Gives `waiter` back if the queue is full.
    pub fn hold(&mut self, waiter: W) -> Result<Ticket, W> {
        if self.queue.len() >= self.limits.queue_depth {
            return Err(waiter);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.queue.push_back((ticket, waiter));
        Ok(ticket)
    }

    /// A place for a request that was never in the queue and must come back to it: behind those that wait.
    pub fn late_ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    /// Puts a request back to where it stood. It was admitted once: the queue's bound does not refuse it.
    pub fn hold_again(&mut self, ticket: Ticket, waiter: W) {
        let index = self.queue.partition_point(|(other, _)| *other < ticket);
        self.queue.insert(index, (ticket, waiter));
    }

    /// A held request's client went away.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<W> {
        let index = self.queue.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        self.queue.remove(index).map(|(_, waiter)| waiter)
    }

    /// A request that had a place at `pod` has ended. Answers whether the pod is set aside by it: it must
    /// be found ready again, and nobody has asked it yet.
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

    /// Those whose turn has come, oldest first. To be called after anything changed.
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

    /// How long from `now` until time alone lets somebody pass; `None` if only an event can.
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

    /// The pods of `part` that have room. In one loop: iterators in its place took five to ten times as long.
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
