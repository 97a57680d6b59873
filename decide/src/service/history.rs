use std::collections::VecDeque;

use super::Explained;

/// The number of decisions kept for each service.
const KEPT: usize = 12;

/// The last decisions of a service, oldest first. Repeated decisions are kept once.
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
        // Growing by one would need many allocations, and doubling would reserve too much.
        if self.kept.capacity() < KEPT {
            self.kept.reserve_exact(KEPT - self.kept.len());
        }
        self.kept.push_back(decision);
    }

    /// Keeps only what explains why the service rests: the last decision that scaled it, or else the last.
    pub(super) fn rest(&mut self) {
        let told = self.kept.iter().rev().find(|one| one.scale_to.is_some()).or(self.kept.back());
        self.kept = told.cloned().into_iter().collect();
    }

    /// Returns the last decision.
    pub fn last(&self) -> Option<&Explained> {
        self.kept.back()
    }

    /// Returns all decisions.
    pub fn iter(&self) -> impl Iterator<Item = &Explained> {
        self.kept.iter()
    }
}
