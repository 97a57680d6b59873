//! Limits the memory that clients can fill. It counts what is kept for them, not what they sent.
//!
//! A budget can be a part of a parent budget: bytes reserved in the part are also reserved in the parent. When the
//! parent runs short, each part gets at most an equal share, so that a part that takes all it can get leaves the
//! others their share.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// When more than this fraction of a budget is used, its parts are limited to equal shares.
const SHORT: [u64; 2] = [3, 4];
/// When more than this fraction is used, only necessary reservations succeed.
const FOR_NEEDS: [u64; 2] = [1, 2];

/// A limited number of bytes, some of which are reserved.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Level>);

#[derive(Debug)]
struct Level {
    limit: u64,
    used: AtomicU64,
    parent: Option<Budget>,
    /// Number of parts that have reserved something.
    busy_parts: AtomicU64,
}

/// Reserved bytes. Dropping this releases them.
#[derive(Debug)]
pub struct Reserved {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// Returns a budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self::level(limit, None)
    }

    /// Returns a budget without a limit.
    pub fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// Returns a budget of half of the memory that the cgroup of this process allows. The rest is for the process
    /// itself. Without a cgroup limit, the budget is unlimited.
    pub fn of_process() -> Self {
        memory_limit(|file| fs::read_to_string(file).ok())
            .map_or_else(Self::unlimited, |limit| Self::new(limit / 2))
    }

    /// Returns a part of this budget, which may use `limit` bytes of it.
    #[must_use]
    pub fn part(&self, limit: u64) -> Self {
        Self::level(limit, Some(self.clone()))
    }

    fn level(limit: u64, parent: Option<Self>) -> Self {
        Self(Arc::new(Level { limit, used: AtomicU64::new(0), parent, busy_parts: AtomicU64::new(0) }))
    }

    /// Returns a fraction of the limit, given as numerator and denominator.
    pub fn share(&self, [numerator, denominator]: [u64; 2]) -> u64 {
        self.0.limit / denominator * numerator
    }

    /// Returns the limit, in bytes.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Returns the number of reserved bytes.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Reserves `bytes`. Returns `None` if there are not enough left.
    pub fn reserve(&self, bytes: u64) -> Option<Reserved> {
        let mut reserved = Reserved { budget: self.clone(), bytes: 0 };
        reserved.grow(bytes).then_some(reserved)
    }

    /// Reserves `bytes` more in `reserved`, which starts as a part of its own, so that it is limited to an equal
    /// share when this budget runs short.
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

    /// Returns whether a part may use `used` bytes, which includes the `bytes` that it asks for.
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

    /// Releases `bytes`. `counts` says whether the parent counts this part as busy.
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

    /// Returns whether so much is used, here or in a parent, that only necessary reservations succeed.
    fn is_scarce(&self) -> bool {
        self.used() > self.share(FOR_NEEDS) || self.0.parent.as_ref().is_some_and(Self::is_scarce)
    }
}

impl Reserved {
    /// Returns the number of reserved bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves `bytes` more, or none if there are not enough left. Returns whether it did.
    pub fn grow(&mut self, bytes: u64) -> bool {
        let taken = self.budget.take(bytes);
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Like [`Self::grow`], for optional bytes: fails first when memory runs short.
    pub fn grow_if_plenty(&mut self, bytes: u64) -> bool {
        !self.budget.is_scarce() && self.grow(bytes)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// Returns the number of bytes that the cgroup (version 1 or 2) of this process allows, or `None` without a limit.
/// `read` returns the content of a file.
fn memory_limit(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    /// The value of version 1 without a limit: the largest number of whole pages.
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
