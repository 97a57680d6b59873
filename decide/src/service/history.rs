use std::collections::VecDeque;

use super::Explained;

/// Decisions that are kept for each service.
const KEPT: usize = 12;

/// The last decisions of a service, oldest first. One that repeats the last one takes no place.
#[derive(Clone, Debug, Default)]
pub struct History {
    kept: VecDeque<Explained>,
}

impl History {
    pub(super) fn note(&mut self, decision: Explained) {
        if self.kept.back().is_some_and(|last| decision.repeats(last)) {
            return;
        }
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        // One place at a time would be many allocations, and twice as many places more than there will be.
        if self.kept.capacity() < KEPT {
            self.kept.reserve_exact(KEPT - self.kept.len());
        }
        self.kept.push_back(decision);
    }

    /// Keeps no more than tells why the service rests: the last decision that scaled it, else the last.
    pub(super) fn rest(&mut self) {
        let told = self.kept.iter().rev().find(|one| one.scale_to.is_some()).or(self.kept.back());
        self.kept = told.cloned().into_iter().collect();
    }

    /// The last one.
    pub fn last(&self) -> Option<&Explained> {
        self.kept.back()
    }

    /// All that are kept.
    pub fn iter(&self) -> impl Iterator<Item = &Explained> {
        self.kept.iter()
    }
}
