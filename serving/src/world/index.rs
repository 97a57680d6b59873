//! Who refers to what.

use std::collections::{BTreeSet, HashMap};

use crate::outcome::Reference;

/// Which objects must be examined when another one changes.
#[derive(Debug, Default)]
pub(super) struct Index {
    sources: HashMap<Reference, BTreeSet<Reference>>,
    targets: HashMap<Reference, Vec<Reference>>,
    owners: HashMap<String, Reference>,
}

impl Index {
    /// Replaces what `source` refers to.
    pub(super) fn set(&mut self, source: &Reference, targets: Vec<Reference>) {
        for target in self.targets.remove(source).into_iter().flatten() {
            if let Some(sources) = self.sources.get_mut(&target) {
                sources.remove(source);
                if sources.is_empty() {
                    self.sources.remove(&target);
                }
            }
        }
        for target in &targets {
            self.sources.entry(target.clone()).or_default().insert(source.clone());
        }
        if !targets.is_empty() {
            self.targets.insert(source.clone(), targets);
        }
    }

    /// Returns the objects that refer to `target`.
    pub(super) fn of(&self, target: &Reference) -> impl Iterator<Item = &Reference> {
        self.sources.get(target).into_iter().flatten()
    }

    /// Returns what `source` refers to.
    pub(super) fn from(&self, source: &Reference) -> impl Iterator<Item = &Reference> {
        self.targets.get(source).into_iter().flatten()
    }

    /// Notes the uid of an object that may own others.
    pub(super) fn owns(&mut self, uid: &str, owner: &Reference) {
        self.owners.insert(uid.to_owned(), owner.clone());
    }

    /// Forgets the uid of an object that is gone.
    pub(super) fn owns_no_more(&mut self, uid: &str) {
        self.owners.remove(uid);
    }

    /// Returns the object with this uid.
    pub(super) fn owner(&self, uid: &str) -> Option<&Reference> {
        self.owners.get(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Kind;

    fn named(kind: Kind, name: &str) -> Reference {
        Reference::new(kind, "shop", name)
    }

    #[test]
    fn what_an_object_referred_to_before_is_forgotten() {
        let mut index = Index::default();
        let (route, other) = (named(Kind::Route, "a"), named(Kind::Route, "b"));
        let (one, two) = (named(Kind::Revision, "1"), named(Kind::Revision, "2"));
        index.set(&route, vec![one.clone(), two.clone()]);
        index.set(&other, vec![two.clone()]);
        assert_eq!(index.of(&two).collect::<Vec<_>>(), [&route, &other]);
        index.set(&route, vec![one.clone()]);
        assert_eq!(index.of(&two).collect::<Vec<_>>(), [&other]);
        assert_eq!(index.from(&route).collect::<Vec<_>>(), [&one]);
        index.set(&route, Vec::new());
        index.set(&other, Vec::new());
        assert!(index.sources.is_empty() && index.targets.is_empty());
    }
}
