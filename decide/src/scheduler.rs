//! When each key is due, without a timer or task per key.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use ebb_core::{ServiceKey, Tick};

/// Due times. Keys that are not scheduled cost nothing.
#[derive(Debug)]
pub struct Scheduler<K> {
    due: HashMap<K, Tick>,
    /// May hold entries that `due` no longer agrees with; they are skipped at their time.
    queue: BinaryHeap<Reverse<(Tick, K)>>,
}

impl<K> Default for Scheduler<K> {
    fn default() -> Self {
        Self { due: HashMap::new(), queue: BinaryHeap::new() }
    }
}

impl<K: Clone + Hash + Ord> Scheduler<K> {
    /// Schedules `key` at `at`, replacing its earlier due time.
    pub fn schedule(&mut self, key: &K, at: Tick) {
        if self.due.insert(key.clone(), at) != Some(at) {
            self.queue.push(Reverse((at, key.clone())));
        }
        // Entries that are rescheduled before they are due must not fill the queue.
        if self.queue.len() > 64 + 2 * self.due.len() {
            self.queue = self.due.iter().map(|(key, at)| Reverse((*at, key.clone()))).collect();
        }
    }

    /// Returns whether `key` is scheduled.
    pub fn is_scheduled(&self, key: &K) -> bool {
        self.due.contains_key(key)
    }

    /// Removes `key` until it is scheduled again.
    pub fn forget(&mut self, key: &K) {
        self.due.remove(key);
    }

    /// Returns the next due time.
    pub fn next_due(&mut self) -> Option<Tick> {
        while let Some(Reverse((at, key))) = self.queue.peek() {
            if self.due.get(key) == Some(at) {
                return Some(*at);
            }
            self.queue.pop();
        }
        None
    }

    /// Removes and returns a key that is due at `now`, with its due time.
    pub fn pop(&mut self, now: Tick) -> Option<(K, Tick)> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse((at, key)) = self.queue.pop()?;
        self.due.remove(&key);
        Some((key, at))
    }
}

/// Returns the first regular tick of `service` after `now`. Each service has a fixed phase within the
/// `period`, so that the work is spread over it.
pub fn next_tick(service: &ServiceKey, now: Tick, period: Duration) -> Tick {
    let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
    let now = u64::try_from(now.since_epoch().as_nanos()).unwrap_or(u64::MAX);
    let mut hasher = DefaultHasher::new();
    service.hash(&mut hasher);
    let phase = hasher.finish() % period;
    // The time since the last tick, as if there had always been ticks.
    let passed = (now % period + (period - phase)) % period;
    Tick::from_nanos(now.saturating_add(period - passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("ns", name)
    }

    fn due(scheduler: &mut Scheduler<ServiceKey>, now: u64) -> Vec<String> {
        std::iter::from_fn(|| scheduler.pop(Tick::from_secs(now))).map(|(key, _)| key.name).collect()
    }

    #[test]
    fn services_come_in_the_order_in_which_they_are_due() {
        let mut scheduler = Scheduler::default();
        for (name, at) in [("b", 3), ("a", 5), ("c", 1)] {
            scheduler.schedule(&key(name), Tick::from_secs(at));
        }
        assert_eq!(scheduler.next_due(), Some(Tick::from_secs(1)));
        assert_eq!(due(&mut scheduler, 4), ["c", "b"]);
        assert_eq!(due(&mut scheduler, 5), ["a"]);
        assert_eq!(scheduler.next_due(), None);
    }

    #[test]
    fn the_last_word_counts() {
        let mut scheduler = Scheduler::default();
        scheduler.schedule(&key("a"), Tick::from_secs(1));
        scheduler.schedule(&key("a"), Tick::from_secs(9));
        assert_eq!(due(&mut scheduler, 8), [""; 0]);
        scheduler.schedule(&key("a"), Tick::from_secs(2));
        assert_eq!(due(&mut scheduler, 8), ["a"]);
        assert_eq!(due(&mut scheduler, 99), [""; 0]);
        scheduler.schedule(&key("a"), Tick::from_secs(2));
        scheduler.forget(&key("a"));
        assert_eq!(scheduler.next_due(), None);
    }

    #[test]
    fn a_service_that_is_poked_all_the_time_takes_bounded_room() {
        let mut scheduler = Scheduler::default();
        for at in 0..10_000 {
            scheduler.schedule(&key("a"), Tick::from_secs(10_000 - at));
        }
        assert!(scheduler.queue.len() <= 66, "{} entries", scheduler.queue.len());
        assert_eq!(due(&mut scheduler, 1), ["a"]);
    }

    #[test]
    fn ticks_are_spread_over_the_period_and_keep_their_phase() {
        let period = Duration::from_secs(2);
        let now = Tick::from_millis(1_000_333);
        let ticks: Vec<Tick> = (0..100).map(|n| next_tick(&key(&n.to_string()), now, period)).collect();
        for quarter in 0..4 {
            let within = ticks.iter().filter(|at| at.since(now).as_millis() / 500 == quarter).count();
            assert!((10..45).contains(&within), "{within} of 100 in quarter {quarter}");
        }
        for (n, first) in ticks.iter().enumerate() {
            assert!(*first > now);
            let key = key(&n.to_string());
            assert_eq!(next_tick(&key, *first, period), first.after(period));
            assert_eq!(next_tick(&key, first.after(Duration::from_millis(700)), period), first.after(period));
        }
    }
}
