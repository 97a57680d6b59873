//! How much of our memory strangers may fill. What is counted is what is kept for them, not what they sent.
//!
//! A budget may have a parent, of which it is a part: what is reserved in the part is reserved in the whole. When the
//! whole runs short, its parts get no more than an equal share each, so that one that takes all that it can get leaves
//! the others theirs.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Above this part of a whole, its parts are held to their shares.
const SHORT: [u64; 2] = [3, 4];
/// Above this part nothing is reserved that one can do without.
const FOR_NEEDS: [u64; 2] = [1, 2];

/// A number of bytes, some of which are taken.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Level>);

#[derive(Debug)]
struct Level {
    limit: u64,
    used: AtomicU64,
    parent: Option<Budget>,
    /// Parts of this that have taken something.
    busy_parts: AtomicU64,
}

/// Bytes that are taken while this lives.
#[derive(Debug)]
pub struct Reserved {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// A whole of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self::level(limit, None)
    }

    /// A whole that has no end.
    pub fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// Half of the memory that this process may have by its cgroup; the rest is for what it does by itself. Without a
    /// cgroup that says so it has no end.
    pub fn of_process() -> Self {
        memory_limit(|file| fs::read_to_string(file).ok())
            .map_or_else(Self::unlimited, |limit| Self::new(limit / 2))
    }

    /// A part of this, that may take `limit` bytes of it.
    #[must_use]
    pub fn part(&self, limit: u64) -> Self {
        Self::level(limit, Some(self.clone()))
    }

    fn level(limit: u64, parent: Option<Self>) -> Self {
        Self(Arc::new(Level { limit, used: AtomicU64::new(0), parent, busy_parts: AtomicU64::new(0) }))
    }

    /// So much of its limit, as a numerator and a denominator.
    pub fn share(&self, [numerator, denominator]: [u64; 2]) -> u64 {
        self.0.limit / denominator * numerator
    }

    /// Bytes that may be taken.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Bytes that are taken.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes`; `None` where there are not so many left.
    pub fn reserve(&self, bytes: u64) -> Option<Reserved> {
        let mut reserved = Reserved { budget: self.clone(), bytes: 0 };
        reserved.grow(bytes).then_some(reserved)
    }

    /// Takes `bytes` more into `reserved`, which begins as a part of its own: a share like others, when this runs short.
    pub(crate) fn grow(&self, reserved: &mut Option<Reserved>, bytes: u64) -> bool {
        if let Some(reserved) = reserved {
            return reserved.grow(bytes);
        }
        *reserved = self.part(self.limit()).reserve(bytes);
        reserved.is_some()
    }

    fn take(&self, bytes: u64) -> bool {
        let level = &*self.0;
        let before = level.used.fetch_add(bytes, Ordering::Relaxed);
        let used = before.saturating_add(bytes);
        let began = before == 0 && bytes > 0;
        let fits = used <= level.limit
            && level.parent.as_ref().is_none_or(|parent| {
                if began {
                    parent.0.busy_parts.fetch_add(1, Ordering::Relaxed);
                }
                parent.leaves(bytes, used) && parent.take(bytes)
            });
        if !fits {
            let began = began && used <= level.limit;
            self.give_back_here(bytes, began);
        }
        fits
    }

    /// Whether a part that has `used` with the `bytes` that it wants may have them.
    fn leaves(&self, bytes: u64, used: u64) -> bool {
        let level = &*self.0;
        let is_short = self.used().saturating_add(bytes) > self.share(SHORT);
        !is_short || used <= level.limit / level.busy_parts.load(Ordering::Relaxed).max(1)
    }

    fn give_back(&self, bytes: u64) {
        self.give_back_here(bytes, true);
        if let Some(parent) = &self.0.parent {
            parent.give_back(bytes);
        }
    }

    /// `counts` where the parent was told that this part has taken something.
    fn give_back_here(&self, bytes: u64, counts: bool) {
        let left = self.0.used.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes);
        if left == 0
            && counts
            && bytes > 0
            && let Some(parent) = &self.0.parent
        {
            parent.0.busy_parts.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether so little is left, here or above, that one does without what one can do without.
    fn is_scarce(&self) -> bool {
        self.used() > self.share(FOR_NEEDS) || self.0.parent.as_ref().is_some_and(Self::is_scarce)
    }
}

impl Reserved {
    /// How many they are.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `bytes` more; or none of them, where there are not so many left.
    pub fn grow(&mut self, bytes: u64) -> bool {
        let taken = self.budget.take(bytes);
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// The same, of what one can do without: it is the first that there is no more of.
    pub fn grow_if_plenty(&mut self, bytes: u64) -> bool {
        !self.budget.is_scarce() && self.grow(bytes)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// Bytes of memory that the cgroup of this process allows, of either version, as `read` finds its files; `None` where it
/// sets no limit.
fn memory_limit(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    /// What version 1 says where it sets none: the largest number of whole pages.
    const NONE: u64 = 1 << 62;
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .find_map(|file| read(file)?.trim().parse().ok())
        .filter(|limit| *limit < NONE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_reserved_in_a_part_is_reserved_in_the_whole_and_given_back() {
        let whole = Budget::new(100);
        let part = whole.part(60);
        let mut reserved = part.reserve(50).unwrap();
        assert_eq!((part.used(), whole.used()), (50, 50));
        assert!(!reserved.grow(11), "beyond the part");
        assert!(reserved.grow(10));
        assert!(part.reserve(1).is_none());
        assert!(whole.reserve(41).is_none(), "beyond the whole");
        assert_eq!((part.used(), whole.used()), (60, 60));
        drop(reserved);
        assert_eq!((part.used(), whole.used()), (0, 0));
    }

    #[test]
    fn when_the_whole_runs_short_each_part_has_its_share() {
        let whole = Budget::new(120);
        let (greedy, modest, late) = (whole.part(120), whole.part(120), whole.part(120));
        let _modest = modest.reserve(10).unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| greedy.reserve(10)).collect();
        assert_eq!(taken.len(), 8, "up to three quarters, and to its half");
        let _more: Vec<_> = std::iter::from_fn(|| modest.reserve(10)).collect();
        assert_eq!(modest.used(), 40, "what is left, within its half");
        assert!(late.reserve(1).is_none(), "nothing is left");
        drop(taken);
        assert!(late.reserve(40).is_some());
    }

    #[test]
    fn what_one_can_do_without_is_the_first_to_go() {
        let whole = Budget::new(100);
        let mut reserved = whole.part(100).reserve(40).unwrap();
        assert!(reserved.grow_if_plenty(20));
        assert!(!reserved.grow_if_plenty(1));
        assert!(reserved.grow(1));
    }

    #[test]
    fn the_limit_of_memory_is_the_cgroups() {
        let v2 = |file: &str| (file == "/sys/fs/cgroup/memory.max").then(|| "268435456\n".to_owned());
        assert_eq!(memory_limit(v2), Some(268_435_456));
        let v1 = |file: &str| file.ends_with("limit_in_bytes").then(|| "1048576\n".to_owned());
        assert_eq!(memory_limit(v1), Some(1_048_576));
        assert_eq!(memory_limit(|_| Some("max\n".to_owned())), None);
        assert_eq!(memory_limit(|_| Some("9223372036854771712\n".to_owned())), None);
        assert_eq!(memory_limit(|_| None), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_doubled_whatever_comes_and_goes(
            steps in prop::collection::vec((0_usize..3, 0_u64..40, any::<bool>()), 0..60)
        ) {
            let whole = Budget::new(100);
            let parts = [whole.part(80), whole.part(50), whole.part(100)];
            let mut held: Vec<(usize, Reserved)> = Vec::new();
            for (part, bytes, takes) in steps {
                if takes {
                    held.extend(parts[part].reserve(bytes).map(|reserved| (part, reserved)));
                } else if let Some(at) = held.iter().position(|(of, _)| *of == part) {
                    held.remove(at);
                }
                for (of, budget) in parts.iter().enumerate() {
                    let sum: u64 = held.iter().filter(|(part, _)| *part == of).map(|(_, reserved)| reserved.bytes).sum();
                    prop_assert_eq!(budget.used(), sum);
                    prop_assert!(sum <= budget.limit());
                }
                prop_assert_eq!(whole.used(), parts.iter().map(Budget::used).sum::<u64>());
                prop_assert!(whole.used() <= 100);
                let busy = parts.iter().filter(|part| part.used() > 0).count() as u64;
                prop_assert_eq!(whole.0.busy_parts.load(Ordering::Relaxed), busy);
            }
        }
    }
}
