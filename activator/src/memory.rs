//! Memory budgets for requests, in bytes: for all, for one namespace, for one service.
//!
//! They are an activator's first bound: a queue's depth counts requests, but clients decide how large each
//! is.

use std::collections::HashMap;

use ebb_core::ServiceKey;
use ebb_proxy::{Budget, Limits};
use parking_lot::Mutex;

/// The share of the total for one namespace.
const OF_A_NAMESPACE: [u64; 2] = [3, 4];
/// The share of the total for one service.
const OF_A_SERVICE: [u64; 2] = [1, 2];
/// The share of the total, and the most bytes, for incomplete heads, whose service is not known yet.
const OF_HEADS: [u64; 2] = [1, 4];
const MOST_HEADS: u64 = 64 * 1024 * 1024;
/// The share of the total, and the most bytes, for unread frames, without their contents. A connection has up
/// to 64 KiB of them and most have none: this is enough for a thousand that send small pieces faster than
/// they are read.
const OF_FRAMES: [u64; 2] = [1, 4];
const MOST_FRAMES: u64 = 64 * 1024 * 1024;

/// The budgets of one activator.
#[derive(Debug)]
pub(crate) struct Memory {
    whole: Budget,
    /// Incomplete heads.
    heads: Budget,
    /// Unread frames.
    frames: Budget,
    namespaces: Mutex<HashMap<String, Budget>>,
}

impl Memory {
    pub(crate) fn new(whole: Budget) -> Self {
        let heads = whole.part(whole.share(OF_HEADS).min(MOST_HEADS));
        let frames = whole.part(whole.share(OF_FRAMES).min(MOST_FRAMES));
        Self { whole, heads, frames, namespaces: Mutex::default() }
    }

    /// Returns the bytes in use and the limit.
    pub(crate) fn used_and_limit(&self) -> (u64, u64) {
        (self.whole.used(), self.whole.limit())
    }

    /// Returns the limits of a server whose clients count here.
    pub(crate) fn limits(&self) -> Limits {
        Limits { heads: self.heads.clone(), frames: self.frames.clone(), ..Limits::default() }
    }

    /// Returns the budget of a service.
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
