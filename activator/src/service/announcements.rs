//! Announcements by pods, on top of the last table.
//!
//! A pod that starts or drains is announced by whichever autoscaler hears it first; the leader, whose table
//! counts, may learn of it some hundred milliseconds later. So an announcement holds until the leader's table
//! agrees.

use std::time::Duration;

use ebb_core::{Tick, link::PodEntry};

/// A pod that no table ever named is forgotten after this time: the API server has told the leader by then.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// The most announcements for one service; the oldest is dropped first. A thousand pods that start at once
/// are in the next table.
const MOST: usize = 1024;

/// Announcements of the pods of one service.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    news: Vec<News>,
}

#[derive(Debug)]
struct News {
    pod: PodEntry,
    draining: bool,
    /// Whether a table has named it since, or when it was announced.
    named: bool,
    until: Tick,
}

impl Announcements {
    /// Records at `now` that a pod starts, or that it is `draining`. The last table is `table`.
    pub(super) fn hear(&mut self, pod: &PodEntry, draining: bool, table: &[PodEntry], now: Tick) {
        self.news.retain(|news| !is_same(&news.pod, pod));
        let named = table.iter().any(|entry| is_same(entry, pod));
        if named && !draining {
            return;
        }
        if self.news.len() == MOST {
            self.news.remove(0);
        }
        self.news.push(News { pod: pod.clone(), draining, named, until: now.after(FORGOTTEN_AFTER) });
    }

    /// Applies the leader's new `table`, and drops the announcements that agree with it.
    pub(super) fn agree(&mut self, table: &[PodEntry], now: Tick) {
        self.news.retain_mut(|news| {
            let named = table.iter().any(|entry| is_same(entry, &news.pod));
            let stays = if news.draining { named || !news.named } else { !named };
            news.named |= named;
            stays
        });
        self.forget(now);
    }

    /// Drops announcements that no table confirmed in time. Returns whether there were any.
    pub(super) fn forget(&mut self, now: Tick) -> bool {
        let before = self.news.len();
        self.news.retain(|news| news.until > now || (news.draining && news.named));
        self.news.len() < before
    }

    /// Returns when the next announcement expires.
    pub(super) fn next_forgotten(&self) -> Option<Tick> {
        self.news.iter().filter(|news| !(news.draining && news.named)).map(|news| news.until).min()
    }

    /// Returns the current pods, by `table` and the announcements.
    pub(super) fn pods(&self, table: &[PodEntry]) -> Vec<PodEntry> {
        let drains = |pod: &PodEntry| self.news.iter().any(|news| news.draining && is_same(&news.pod, pod));
        let mut pods: Vec<PodEntry> = table.iter().filter(|pod| !drains(pod)).cloned().collect();
        pods.extend(self.news.iter().filter(|news| !news.draining).map(|news| news.pod.clone()));
        pods
    }
}

/// Returns whether they are the same pod, and not a successor of the same name.
fn is_same(one: &PodEntry, other: &PodEntry) -> bool {
    one.name == other.name && one.nonce == other.nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pods of a service, as seen by the leader and by themselves; each step is a second.
    #[derive(Default)]
    struct World {
        announced: Announcements,
        table: Vec<PodEntry>,
        now: Tick,
    }

    impl World {
        fn table(&mut self, names: &[&str]) -> String {
            self.table = names.iter().map(|name| pod(name)).collect();
            self.announced.agree(&self.table, self.now);
            self.pods()
        }

        fn comes(&mut self, name: &str) -> String {
            self.announced.hear(&pod(name), false, &self.table, self.now);
            self.pods()
        }

        fn drains(&mut self, name: &str) -> String {
            self.announced.hear(&pod(name), true, &self.table, self.now);
            self.pods()
        }

        fn passes(&mut self, seconds: u64) -> String {
            self.now = self.now.after(Duration::from_secs(seconds));
            self.announced.forget(self.now);
            self.pods()
        }

        fn pods(&self) -> String {
            let names: Vec<String> =
                self.announced.pods(&self.table).into_iter().map(|pod| pod.name).collect();
            names.join(" ")
        }
    }

    /// `name` is the name, or the name and a nonce.
    fn pod(name: &str) -> PodEntry {
        let (name, nonce) = name.split_once('/').unwrap_or((name, ""));
        PodEntry { name: name.into(), nonce: nonce.into(), ..PodEntry::default() }
    }

    #[test]
    fn a_pod_that_comes_is_there_until_a_table_has_named_it() {
        let mut world = World::default();
        assert_eq!(world.comes("a"), "a");
        assert_eq!(world.comes("a"), "a", "twice is once");
        assert_eq!(world.table(&["b"]), "b a", "the leader does not know it yet");
        assert_eq!(world.table(&["b", "a"]), "b a");
        assert_eq!(world.table(&["b"]), "b", "from then on the leader's word counts");
        assert_eq!(world.comes("b"), "b", "that is no news");
        assert_eq!(world.announced.next_forgotten(), None);
    }

    #[test]
    fn a_pod_that_no_table_names_is_forgotten_after_a_minute() {
        let mut world = World::default();
        world.comes("a");
        assert_eq!(world.passes(59), "a");
        assert_eq!(world.comes("b"), "a b");
        assert_eq!(world.announced.next_forgotten(), Some(Tick::from_secs(60)));
        assert_eq!(world.passes(1), "b");
        assert_eq!(world.passes(58), "b");
        assert_eq!(world.passes(1), "");
    }

    #[test]
    fn a_pod_that_drains_is_gone_until_no_table_names_it_and_may_come_back() {
        let mut world = World::default();
        world.table(&["a", "b"]);
        assert_eq!(world.drains("a"), "b");
        assert_eq!(world.table(&["a", "b", "c"]), "b c", "the leader does not know yet");
        assert_eq!(world.passes(1_000), "b c", "however long it takes");
        assert_eq!(world.table(&["b", "c"]), "b c");
        assert_eq!(world.table(&["a", "b"]), "a b", "one that is named again is there again");
        world.drains("a");
        assert_eq!(world.comes("a"), "a b", "its container was restarted");
    }

    #[test]
    fn a_pod_that_drains_before_any_table_has_named_it_is_not_there_when_one_does() {
        let mut world = World::default();
        world.comes("a");
        assert_eq!(world.drains("a"), "");
        assert_eq!(world.table(&["b"]), "b");
        assert_eq!(world.table(&["a", "b"]), "b");
        assert_eq!(world.table(&["b"]), "b");
        assert!(world.announced.news.is_empty());
        world.drains("c");
        world.passes(60);
        assert!(world.announced.news.is_empty(), "nobody ever named it");
    }

    #[test]
    fn a_successor_of_the_same_name_is_another_pod() {
        let mut world = World::default();
        world.table(&["web-0/old"]);
        assert_eq!(world.drains("web-0/old"), "");
        assert_eq!(world.comes("web-0/new"), "web-0");
        assert_eq!(world.table(&["web-0/new"]), "web-0");
        assert!(world.announced.news.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut world = World::default();
        for n in 0..2 * MOST {
            world.comes(&n.to_string());
        }
        assert_eq!(world.announced.news.len(), MOST);
    }
}
