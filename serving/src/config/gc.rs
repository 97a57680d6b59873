//! `config-gc`: how long revisions are kept to which no Route sends requests.

use std::time::Duration;

/// How long revisions are kept to which no Route sends requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gc {
    /// `retain-since-create-time`; `None` is disabled.
    pub retain_since_create: Option<Duration>,
    /// `retain-since-last-active-time`; `None` is disabled.
    pub retain_since_last_active: Option<Duration>,
    /// `min-non-active-revisions`.
    pub min_non_active: usize,
    /// `max-non-active-revisions`; `None` is disabled.
    pub max_non_active: Option<usize>,
}

impl Default for Gc {
    fn default() -> Self {
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        Self {
            retain_since_create: hours(48),
            retain_since_last_active: hours(15),
            min_non_active: 20,
            max_non_active: Some(1000),
        }
    }
}
