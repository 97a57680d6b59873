//! Each connection is a descriptor, on both sides.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Takes as many descriptors as the system lets us have, and answers how many that is.
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
