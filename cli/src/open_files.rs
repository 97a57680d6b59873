//! The limit of open files: each connection needs a descriptor on both sides.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as the system allows, and returns it.
pub(crate) fn raise() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_ok() {
        limit.current.unwrap_or(u64::MAX)
    } else {
        before.unwrap_or(u64::MAX)
    }
}
