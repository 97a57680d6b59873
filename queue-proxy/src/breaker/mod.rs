//! Admission: a limited number of requests execute, a limited number are pending, and the next one is refused.
//!
//! Waiting is first come, first served: a request that ends hands its slot to the oldest pending request, and a new
//! one never overtakes. tokio's `Semaphore` is not used because its queue is unbounded.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;

#[cfg(test)]
mod tests;

/// The bounds of a [`Breaker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Maximum number of pending requests, in addition to executing ones.
    pub queue_depth: usize,
    /// Maximum number of requests that execute at once. Together with `queue_depth`, it limits the requests in
    /// flight.
    pub max_concurrency: usize,
    /// Initial number of requests that may execute at once.
    pub initial_capacity: usize,
}

/// Bounds that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidBounds {
    /// No request could ever wait.
    #[error("queue depth is 0; want at least 1")]
    NoQueue,
    /// The initial capacity exceeds the maximum.
    #[error("initial capacity {0} exceeds the maximal concurrency {1}")]
    CapacityAboveMaximum(usize, usize),
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("pending request queue full")]
pub struct Full;

/// Limits how many requests execute at once.
#[derive(Debug)]
pub struct Breaker {
    places: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    capacity: usize,
    executing: usize,
    /// The oldest is first. Tickets increase, so a waiter that leaves is found by binary search.
    waiting: VecDeque<Waiter>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    hand_over: oneshot::Sender<Slot>,
}

/// Permission to execute a request. Dropping it hands it to the oldest pending request.
#[derive(Debug)]
pub struct Slot {
    breaker: Arc<Breaker>,
}

/// The number of requests in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Requests that wait for a slot.
    pub pending: usize,
    /// Requests that hold a slot.
    pub executing: usize,
}

impl Breaker {
    /// Returns a breaker within `bounds`.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidBounds`] if the bounds contradict each other.
    pub fn new(bounds: Bounds) -> Result<Arc<Self>, InvalidBounds> {
        if bounds.queue_depth == 0 {
            return Err(InvalidBounds::NoQueue);
        }
        if bounds.initial_capacity > bounds.max_concurrency {
            return Err(InvalidBounds::CapacityAboveMaximum(bounds.initial_capacity, bounds.max_concurrency));
        }
        Ok(Arc::new(Self {
            places: bounds.queue_depth.saturating_add(bounds.max_concurrency),
            state: Mutex::new(State {
                capacity: bounds.initial_capacity,
                executing: 0,
                waiting: VecDeque::new(),
                next_ticket: 0,
            }),
        }))
    }

    /// Waits for a slot. Dropping the future leaves the queue at once.
    ///
    /// # Errors
    ///
    /// Returns [`Full`] at once if all places are taken.
    pub async fn acquire(self: &Arc<Self>) -> Result<Slot, Full> {
        let mut waiting = match self.enter()? {
            Entered::Slot(slot) => return Ok(slot),
            Entered::Waiting(waiting) => waiting,
        };
        // This cannot fail: the sender stays in the queue until it is used.
        (&mut waiting.handed).await.map_err(|_| Full)
    }

    /// Returns a slot if one is free now.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Slot> {
        let mut state = self.state.lock();
        let free = state.has_room() && self.in_flight(&state) < self.places;
        free.then(|| {
            state.executing += 1;
            Slot { breaker: self.clone() }
        })
    }

    /// Changes how many requests may execute at once. A lower number does not interrupt any request; a higher one
    /// admits pending requests at once.
    pub fn set_capacity(self: &Arc<Self>, capacity: usize) {
        self.state.lock().capacity = capacity;
        self.hand_out();
    }

    /// Returns how many requests are pending and executing.
    pub fn occupancy(&self) -> Occupancy {
        let state = self.state.lock();
        Occupancy { pending: state.waiting.len(), executing: state.executing }
    }

    fn in_flight(&self, state: &State) -> usize {
        debug_assert!(state.waiting.len() <= self.places, "the queue outgrew its bound");
        state.executing + state.waiting.len()
    }

    fn enter(self: &Arc<Self>) -> Result<Entered, Full> {
        let mut state = self.state.lock();
        if self.in_flight(&state) >= self.places {
            return Err(Full);
        }
        if state.has_room() {
            state.executing += 1;
            return Ok(Entered::Slot(Slot { breaker: self.clone() }));
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let (hand_over, handed) = oneshot::channel();
        state.waiting.push_back(Waiter { ticket, hand_over });
        Ok(Entered::Waiting(Waiting { breaker: self.clone(), ticket, handed }))
    }

    /// Gives free slots to the oldest pending requests.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let waiter = {
                let mut state = self.state.lock();
                if state.executing >= state.capacity {
                    return;
                }
                let Some(waiter) = state.waiting.pop_front() else { return };
                state.executing += 1;
                waiter
            };
            // If the waiter has just left, the slot is returned by dropping it, outside the lock.
            drop(waiter.hand_over.send(Slot { breaker: self.clone() }));
        }
    }
}

enum Entered {
    Slot(Slot),
    Waiting(Waiting),
}

/// A place in the queue. Dropping it leaves the queue.
struct Waiting {
    breaker: Arc<Breaker>,
    ticket: u64,
    handed: oneshot::Receiver<Slot>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.breaker.state.lock();
        if let Ok(index) = state.waiting.binary_search_by_key(&self.ticket, |waiter| waiter.ticket) {
            state.waiting.remove(index);
        }
        // A slot that was handed over meanwhile is dropped with the receiver, after the lock is released.
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.breaker.state.lock().executing -= 1;
        // Until the slot is handed out, nobody else can take it, because new requests find others waiting.
        self.breaker.hand_out();
    }
}

impl State {
    /// Returns whether a new request may execute at once. Not while others are pending, because a slot may just be on
    /// its way to them.
    fn has_room(&self) -> bool {
        self.executing < self.capacity && self.waiting.is_empty()
    }
}
