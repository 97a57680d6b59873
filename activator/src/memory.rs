//! What requests may keep here, in bytes: all together, those of one namespace, those of one service.
//!
//! It is an activator's first bound. A queue's depth counts requests, and a stranger decides how large each is.

use std::collections::HashMap;

use ebb_core::ServiceKey;
use ebb_proxy::{Budget, Limits};
use parking_lot::Mutex;

/// One namespace may have so much of all.
const OF_A_NAMESPACE: [u64; 2] = [3, 4];
/// One service may have so much of all.
const OF_A_SERVICE: [u64; 2] = [1, 2];
/// Heads that are not complete yet, of which nobody knows whose they are: so much of all, and at most so many bytes.
const OF_HEADS: [u64; 2] = [1, 4];
const MOST_HEADS: u64 = 64 * 1024 * 1024;
/// Frames that nobody has taken, beside what is in them: so much of all, and at most so many bytes. A connection has 64 KiB
/// of them at a time, and most have none: that is enough for a thousand that send small pieces faster than they are taken.
const OF_FRAMES: [u64; 2] = [1, 4];
const MOST_FRAMES: u64 = 64 * 1024 * 1024;

/// The budgets of one activator.
#[derive(Debug)]
pub(crate) struct Memory {
    whole: Budget,
    /// Heads that are not complete yet.
    heads: Budget,
    /// Frames that nobody has taken.
    frames: Budget,
    namespaces: Mutex<HashMap<String, Budget>>,
}

impl Memory {
    pub(crate) fn new(whole: Budget) -> Self {
        let heads = whole.part(whole.share(OF_HEADS).min(MOST_HEADS));
        let frames = whole.part(whole.share(OF_FRAMES).min(MOST_FRAMES));
        Self { whole, heads, frames, namespaces: Mutex::default() }
    }

    /// Bytes that are taken, and bytes that may be.
    pub(crate) fn used_and_limit(&self) -> (u64, u64) {
        (self.whole.used(), self.whole.limit())
    }

    /// What a server allows its clients that counts here.
    pub(crate) fn limits(&self) -> Limits {
        Limits { heads: self.heads.clone(), frames: self.frames.clone(), ..Limits::default() }
    }

    /// Where what a service keeps is counted.
    pub(crate) fn of_service(&self, service: &ServiceKey) -> Budget {
        let mut namespaces = self.namespaces.lock();
        let namespace = namespaces
            .entry(service.namespace.clone())
            .or_insert_with(|| self.whole.part(self.whole.share(OF_A_NAMESPACE)));
        namespace.part(self.whole.share(OF_A_SERVICE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> ServiceKey {
        name.parse().unwrap()
    }

    #[test]
    fn no_service_and_no_namespace_takes_what_others_need() {
        let memory = Memory::new(Budget::new(1000));
        let (one, two) = (memory.of_service(&service("a/one")), memory.of_service(&service("a/two")));
        let other = memory.of_service(&service("b/other"));
        let _one = one.reserve(500).unwrap();
        assert!(one.reserve(1).is_none(), "a service has its half");
        let _two = two.reserve(250).unwrap();
        assert!(two.reserve(1).is_none(), "a namespace has three quarters");
        let _other = other.reserve(250).unwrap();
        assert_eq!(memory.used_and_limit(), (1000, 1000));
        assert!(memory.heads.reserve(1).is_none());
    }
}
