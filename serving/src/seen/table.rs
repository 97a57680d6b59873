//! The objects of one kind.

use std::{collections::BTreeMap, sync::Arc};

/// The objects of one kind, by namespace and name. A clone is another table of the same objects.
#[derive(Clone, Debug)]
pub struct Table<K>(BTreeMap<(String, String), Arc<K>>);

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K> Table<K> {
    /// Returns an object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.0.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Returns the objects of a namespace, sorted by name.
    pub fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<K>> {
        let first = (namespace.to_owned(), String::new());
        self.0.range(first..).take_while(move |((of, _), _)| of == namespace).map(|(_, object)| object)
    }

    /// Returns the objects of a namespace with their names, sorted by them.
    pub fn named_of_namespace(&self, namespace: &str) -> impl Iterator<Item = (&str, &Arc<K>)> {
        let first = (namespace.to_owned(), String::new());
        let all = self.0.range(first..).take_while(move |((of, _), _)| of == namespace);
        all.map(|((_, name), object)| (name.as_str(), object))
    }

    /// Returns all objects, with their namespaces and names.
    pub fn iter(&self) -> impl Iterator<Item = (&(String, String), &Arc<K>)> {
        self.0.iter()
    }

    /// Puts an object in; returns the one that was there.
    pub fn put(&mut self, namespace: &str, name: &str, object: K) -> Option<Arc<K>> {
        self.0.insert((namespace.to_owned(), name.to_owned()), Arc::new(object))
    }

    /// Takes an object out.
    pub fn take(&mut self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.0.remove(&(namespace.to_owned(), name.to_owned()))
    }

    /// Returns the number of objects.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
