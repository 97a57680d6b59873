//! Schedules checks, and retries of what failed.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Duration,
};

use ebb_core::{Tick, backoff::Backoff};

/// When to check what. Each key has only its next time.
#[derive(Debug)]
pub struct Agenda<K> {
    in_order: BTreeSet<(Tick, K)>,
    by_key: HashMap<K, Tick>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { in_order: BTreeSet::new(), by_key: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord> Agenda<K> {
    /// Schedules a check of `key` at `at`, replacing an earlier schedule.
    pub fn set(&mut self, key: K, at: Tick) {
        if let Some(before) = self.by_key.insert(key.clone(), at) {
            self.in_order.remove(&(before, key.clone()));
        }
        self.in_order.insert((at, key));
    }

    /// Returns when the next check is due.
    pub fn next(&self) -> Option<Tick> {
        self.in_order.first().map(|(at, _)| *at)
    }

    /// Returns a check that is due at `now`, and removes it.
    pub fn pop(&mut self, now: Tick) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.in_order.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

/// What failed, and when it may be tried again.
#[derive(Debug)]
pub struct Retries<K> {
    bounds: [Duration; 2],
    failed: HashMap<K, (Backoff, Tick)>,
}

/// The result of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Number of failures in a row.
    pub times: u32,
    /// When the next attempt is allowed.
    pub again: Tick,
}

impl<K: Eq + Hash> Retries<K> {
    /// The first pause is `bounds[0]`; each further one is twice as long, up to `bounds[1]`.
    pub fn new(bounds: [Duration; 2]) -> Self {
        Self { bounds, failed: HashMap::new() }
    }

    /// Records that `key` failed at `now`. The pause is multiplied by `part`: a random part spreads the retries of
    /// failures that occurred together.
    pub fn failed(&mut self, key: K, now: Tick, part: f64) -> Failed {
        let (backoff, again) = self.failed.entry(key).or_insert((Backoff::new(self.bounds), now));
        *again = now.after(backoff.failed().mul_f64(part));
        Failed { times: backoff.failures(), again: *again }
    }

    /// Records that `key` succeeded, or is not needed any more.
    pub fn settled(&mut self, key: &K) {
        self.failed.remove(key);
    }

    /// Returns whether `key` may be tried at `now`.
    pub fn may_try(&self, key: &K, now: Tick) -> bool {
        self.failed.get(key).is_none_or(|(_, again)| *again <= now)
    }

    /// Returns when `key`, which failed, may be tried again.
    pub fn again(&self, key: &K) -> Option<Tick> {
        self.failed.get(key).map(|(_, again)| *again)
    }

    /// Forgets all failures.
    pub fn clear(&mut self) {
        self.failed.clear();
    }

    /// Returns whether there are no failures.
    pub fn is_empty(&self) -> bool {
        self.failed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Tick {
        Tick::from_secs(second)
    }

    #[test]
    fn each_key_is_on_the_agenda_once_and_comes_in_its_turn() {
        let mut agenda = Agenda::default();
        for (key, second) in [("a", 5), ("b", 3), ("a", 2), ("c", 9), ("b", 4)] {
            agenda.set(key, at(second));
        }
        assert_eq!((agenda.next(), agenda.pop(at(1))), (Some(at(2)), None));
        assert_eq!([agenda.pop(at(4)), agenda.pop(at(4)), agenda.pop(at(4))], [Some("a"), Some("b"), None]);
        agenda.set("a", at(9));
        assert_eq!([agenda.pop(at(9)), agenda.pop(at(9)), agenda.pop(at(9))], [Some("a"), Some("c"), None]);
        assert_eq!(agenda.next(), None);
    }

    #[test]
    fn what_fails_is_tried_later_and_later_until_it_succeeds() {
        let mut retries = Retries::new([Duration::from_millis(200), Duration::from_secs(5)]);
        let mut now = at(1);
        for (times, pause) in [(1, 200), (2, 400), (3, 800), (4, 1600), (5, 3200), (6, 5000), (7, 5000)] {
            let again = now.after(Duration::from_millis(pause));
            assert_eq!(retries.failed("a", now, 1.0), Failed { times, again });
            assert!(!retries.may_try(&"a", again.before(Duration::from_millis(1))));
            assert!(retries.may_try(&"a", again) && retries.may_try(&"b", now));
            assert_eq!((retries.again(&"a"), retries.again(&"b")), (Some(again), None));
            now = again;
        }
        assert_eq!(retries.failed("b", now, 0.5).again, now.after(Duration::from_millis(100)));
        retries.settled(&"a");
        assert!(retries.may_try(&"a", now));
        assert_eq!(retries.failed("a", now, 1.0).times, 1);
        retries.clear();
        assert!(retries.is_empty());
    }
}
