//! The keys of the maps.

/// A key of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The key.
    pub(super) name: &'static str,
    /// Older spellings, in the order in which they are looked up if the key is absent.
    pub(super) older: &'static [&'static str],
    /// `None` if the key is honoured. Otherwise it is accepted for compatibility only; with this value, it says what is
    /// so anyway.
    pub(super) idle: Option<&'static str>,
}

impl Setting {
    /// Creates a key that is honoured.
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, older: &[], idle: None }
    }

    /// Adds older spellings.
    pub(super) const fn or(self, older: &'static [&'static str]) -> Self {
        Self { older, ..self }
    }

    /// Makes it a key that has no effect, and that says with the value `usual` what is so anyway.
    pub(super) const fn idle(self, usual: &'static str) -> Self {
        Self { idle: Some(usual), ..self }
    }

    /// Returns its spellings, in the order in which they are looked up.
    pub(super) fn spellings(&self) -> impl Iterator<Item = &'static str> {
        [self.name].into_iter().chain(self.older.iter().copied())
    }
}

/// Returns keys that are all honoured and have one spelling.
pub(super) fn known(names: &[&'static str]) -> Vec<Setting> {
    names.iter().map(|name| Setting::new(name)).collect()
}
