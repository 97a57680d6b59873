//! Limits the number of connections, and chooses which one goes when another one arrives.
//!
//! A client can open all the connections that a port has without sending a request. Therefore no connection keeps its
//! place just by being there: a new connection replaces the one that has been without a request for the longest time.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// The value of [`Presence::idle_since`] while a request is answered.
const BUSY: u64 = u64::MAX;

/// One connection is evicted at a time for every this many connections, up to [`MOST_AT_ONCE`]. A client that does
/// not react takes its time to go, and new connections would wait for each of them.
const ONE_OF: usize = 64;
const MOST_AT_ONCE: usize = 16;

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Places {
    began: Instant,
    /// How many are evicted at once.
    at_once: usize,
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
    /// A new connection waits for the next one that becomes idle.
    wanted: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    by: HashMap<u64, Arc<Presence>>,
}

/// One connection, as seen by others.
#[derive(Debug)]
pub(crate) struct Presence {
    began: Instant,
    /// Number of requests that are being answered.
    requests: AtomicUsize,
    /// Milliseconds from the listener's start until the last request was answered.
    idle_since: AtomicU64,
    wanted: Arc<AtomicBool>,
    evicted: Notify,
}

/// A request. While it exists, its connection is not idle.
#[derive(Debug)]
pub(crate) struct Busy {
    presence: Arc<Presence>,
}

impl Busy {
    /// Records a request.
    pub(crate) fn begin(presence: &Arc<Presence>) -> Self {
        presence.begin();
        Self { presence: presence.clone() }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.presence.end();
    }
}

/// A place for a connection. Dropping it frees it.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    pub(super) presence: Arc<Presence>,
    _permit: OwnedSemaphorePermit,
}

impl Presence {
    fn new(began: Instant, wanted: Arc<AtomicBool>) -> Arc<Self> {
        let (idle_since, evicted) = (AtomicU64::new(since(began)), Notify::new());
        Arc::new(Self { began, requests: AtomicUsize::new(0), idle_since, wanted, evicted })
    }

    /// Returns the presence of a connection without a limit.
    #[cfg(test)]
    pub(crate) fn alone() -> Arc<Self> {
        Self::new(Instant::now(), Arc::default())
    }

    fn begin(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.idle_since.store(BUSY, Ordering::Relaxed);
    }

    fn end(&self) {
        if self.requests.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        if self.wanted.swap(false, Ordering::Relaxed) {
            self.evicted.notify_one();
        } else {
            self.idle_since.store(since(self.began), Ordering::Relaxed);
        }
    }

    /// Returns whether a request is being answered.
    pub(crate) fn is_used(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// Returns since when there has been no request, or `None` while there is one.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let since = self.idle_since.load(Ordering::Relaxed);
        (since != BUSY).then(|| self.began + std::time::Duration::from_millis(since))
    }

    /// Resolves when another connection needs the place.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(BUSY - 1)
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        let at_once = (most / ONE_OF).clamp(1, MOST_AT_ONCE);
        let (taken, wanted) = (Mutex::default(), Arc::default());
        Arc::new(Self { began: Instant::now(), at_once, free, taken, wanted })
    }

    /// Returns a place, now or when one becomes free. A place becomes free as soon as there is an idle connection.
    /// Only one task may wait at a time.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Place> {
        let permit = if let Ok(permit) = self.free.clone().try_acquire_owned() {
            permit
        } else {
            self.evict();
            // The evicted connection may start to answer a request at this very moment, so the next one that becomes
            // idle goes, too.
            self.wanted.store(true, Ordering::Relaxed);
            let permit = self.free.clone().acquire_owned().await.ok()?;
            self.wanted.store(false, Ordering::Relaxed);
            permit
        };
        let presence = Presence::new(self.began, self.wanted.clone());
        let mut taken = self.taken.lock();
        let id = taken.next;
        taken.next += 1;
        taken.by.insert(id, presence.clone());
        Some(Place { places: self.clone(), id, presence, _permit: permit })
    }

    /// Evicts the connections that have been idle for the longest time.
    fn evict(&self) {
        let taken = self.taken.lock();
        let idle = |presence: &Arc<Presence>| presence.idle_since.load(Ordering::Relaxed);
        let mut oldest: Vec<_> = taken
            .by
            .values()
            .map(|presence| (idle(presence), presence))
            .filter(|(idle, _)| *idle != BUSY)
            .collect();
        if oldest.len() > self.at_once {
            oldest.select_nth_unstable_by_key(self.at_once, |(idle, _)| *idle);
            oldest.truncate(self.at_once);
        }
        for (_, presence) in &oldest {
            // Do not evict it twice, although it takes a moment to go.
            presence.idle_since.store(BUSY, Ordering::Relaxed);
            presence.evicted.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.lock().by.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_comes_takes_the_place_of_who_was_idle_for_the_longest_time() {
        let places = Places::new(3);
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(places.take().await.unwrap());
            advance(Duration::from_secs(1)).await;
        }
        let _busy = Busy::begin(&taken[0].presence);
        let mut fourth = Box::pin(places.take());
        assert!(timeout(Duration::from_secs(1), &mut fourth).await.is_err(), "nobody has gone yet");
        timeout(Duration::from_secs(1), taken[1].presence.evicted())
            .await
            .expect("the oldest idle one is told");
        assert!(timeout(Duration::from_secs(1), taken[2].presence.evicted()).await.is_err());
        drop(taken.remove(1));
        assert!(fourth.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_connections_several_go_at_once() {
        let places = Places::new(2 * ONE_OF);
        let mut taken = Vec::new();
        for _ in 0..2 * ONE_OF {
            taken.push(places.take().await.unwrap());
            advance(Duration::from_millis(1)).await;
        }
        let _one_more = timeout(Duration::from_secs(1), places.take()).await.unwrap_err();
        let mut gone = 0;
        for place in &taken {
            gone += usize::from(timeout(Duration::ZERO, place.presence.evicted()).await.is_ok());
        }
        assert_eq!(gone, 2);
        assert!(taken[0].presence.idle_since().is_none() && taken[1].presence.idle_since().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_answered_keeps_its_place_until_it_is() {
        let places = Places::new(1);
        let only = places.take().await.unwrap();
        let busy = Busy::begin(&only.presence);
        let mut second = Box::pin(places.take());
        assert!(timeout(Duration::from_secs(60), &mut second).await.is_err());
        drop(busy);
        timeout(Duration::from_secs(1), only.presence.evicted()).await.expect("its turn has come");
        drop(only);
        let second = second.await.unwrap();
        drop(Busy::begin(&second.presence));
        assert!(second.presence.idle_since().is_some(), "nobody waits any more");
    }
}
