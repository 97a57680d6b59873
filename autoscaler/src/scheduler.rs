//! When each service is due, for all of them in one place: no timer and no task per service.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use ebb_core::{ServiceKey, Tick};

/// Due times. A service that is not scheduled costs nothing until somebody schedules it.
#[derive(Debug, Default)]
pub struct Scheduler {
    due: HashMap<ServiceKey, Tick>,
    /// May hold entries that `due` no longer agrees with; they are skipped when their time comes.
    queue: BinaryHeap<Reverse<(Tick, ServiceKey)>>,
}

impl Scheduler {
    /// `service` is due at `at`, instead of whenever it was due before.
    pub fn schedule(&mut self, service: &ServiceKey, at: Tick) {
        if self.due.insert(service.clone(), at) != Some(at) {
            self.queue.push(Reverse((at, service.clone())));
        }
        // Services that are rescheduled before they are due must not fill the queue.
        if self.queue.len() > 64 + 2 * self.due.len() {
            self.queue = self.due.iter().map(|(key, at)| Reverse((*at, key.clone()))).collect();
        }
    }

    /// `service` is not due until it is scheduled again.
    pub fn forget(&mut self, service: &ServiceKey) {
        self.due.remove(service);
    }

    /// When the next service is due.
    pub fn next_due(&mut self) -> Option<Tick> {
        while let Some(Reverse((at, service))) = self.queue.peek() {
            if self.due.get(service) == Some(at) {
                return Some(*at);
            }
            self.queue.pop();
        }
        None
    }

    /// A service that is due at `now`; it is not scheduled any more.
    pub fn pop(&mut self, now: Tick) -> Option<ServiceKey> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse((_, service)) = self.queue.pop()?;
        self.due.remove(&service);
        Some(service)
    }
}

/// The first regular tick of `service` after `now`: each service has its own phase within the `period`, so
/// that the work is spread over it.
pub fn first_tick(service: &ServiceKey, now: Tick, period: Duration) -> Tick {
    let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
    let mut hasher = DefaultHasher::new();
    service.hash(&mut hasher);
    now.after(Duration::from_nanos(hasher.finish() % period_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("ns", name)
    }

    fn due(scheduler: &mut Scheduler, now: u64) -> Vec<String> {
        std::iter::from_fn(|| scheduler.pop(Tick::from_secs(now))).map(|key| key.name).collect()
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
    fn ticks_are_spread_over_the_period() {
        let period = Duration::from_secs(2);
        let offsets: Vec<u128> = (0..100)
            .map(|n| first_tick(&key(&n.to_string()), Tick::ZERO, period).since_epoch().as_millis())
            .collect();
        for quarter in 0..4 {
            let within = offsets.iter().filter(|ms| **ms / 500 == quarter).count();
            assert!((10..45).contains(&within), "{within} of 100 in quarter {quarter}");
        }
    }
}
