//! Finds the owner of a host name: exact names first, then the longest wildcard.

use std::collections::HashMap;

use ahash::RandomState;
use ebb_core::Host;

/// The longest name that is looked up, in bytes. The table holds no longer one.
const MAX_NAME: usize = 253;

/// Host names and their owners.
#[derive(Clone, Debug)]
pub struct HostTable<T> {
    exact: HashMap<Box<str>, T, RandomState>,
    /// Keyed by what follows the `*.`.
    wildcards: HashMap<Box<str>, T, RandomState>,
    /// The label counts of both, one bit for each, so that names of other depths are not looked up.
    exact_depths: u128,
    wildcard_depths: u128,
}

impl<T> Default for HostTable<T> {
    fn default() -> Self {
        Self { exact: HashMap::default(), wildcards: HashMap::default(), exact_depths: 0, wildcard_depths: 0 }
    }
}

impl<T> HostTable<T> {
    /// Makes `owner` the owner of `host`.
    pub fn insert(&mut self, host: &Host, owner: T) {
        if let Some(parent) = host.parent() {
            self.wildcard_depths |= depth(labels(parent));
            self.wildcards.insert(parent.into(), owner);
        } else {
            self.exact_depths |= depth(labels(host.as_str()));
            self.exact.insert(host.as_str().into(), owner);
        }
    }

    /// Returns the number of names.
    pub fn count(&self) -> usize {
        self.exact.len() + self.wildcards.len()
    }

    /// Returns the owner of `authority`, as the client wrote it: with or without a port, in any case. Returns
    /// `None` if no name matches.
    pub fn find(&self, authority: &[u8]) -> Option<&T> {
        let mut buffer = [0; MAX_NAME];
        let name = name(authority, &mut buffer)?;
        let mut left = labels(name);
        if self.exact_depths & depth(left) != 0
            && let Some(owner) = self.exact.get(name)
        {
            return Some(owner);
        }
        if self.wildcard_depths == 0 {
            return None;
        }
        memchr::memchr_iter(b'.', name.as_bytes()).find_map(|dot| {
            left -= 1;
            if self.wildcard_depths & depth(left) == 0 { None } else { self.wildcards.get(&name[dot + 1..]) }
        })
    }
}

fn labels(name: &str) -> usize {
    memchr::memchr_iter(b'.', name.as_bytes()).count() + 1
}

/// A name of 253 bytes has at most 127 labels.
fn depth(labels: usize) -> u128 {
    1_u128.checked_shl(u32::try_from(labels).unwrap_or(u32::MAX)).unwrap_or(0)
}

/// Returns the name in `authority` in lower case, without its port and trailing dot; `None` if it cannot be
/// in the table.
fn name<'a>(authority: &[u8], buffer: &'a mut [u8; MAX_NAME]) -> Option<&'a str> {
    let end = memchr::memchr(b':', authority).unwrap_or(authority.len());
    let name = authority.get(..end)?;
    let name = name.strip_suffix(b".").unwrap_or(name);
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    str::from_utf8(lower).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(names: &[&str]) -> HostTable<String> {
        let mut table = HostTable::default();
        for name in names {
            table.insert(&name.parse().unwrap(), (*name).to_owned());
        }
        table
    }

    #[test]
    fn an_exact_name_comes_first_then_the_longest_wildcard() {
        let table = table(&["a.example.com", "*.example.com", "*.b.example.com", "localhost", "*.com"]);
        for (asked, found) in [
            ("a.example.com", Some("a.example.com")),
            ("A.Example.COM:8080", Some("a.example.com")),
            ("a.example.com.", Some("a.example.com")),
            ("a.example.com.:443", Some("a.example.com")),
            ("c.example.com", Some("*.example.com")),
            ("a.a.example.com", Some("*.example.com")),
            ("b.example.com", Some("*.example.com")),
            ("c.b.example.com", Some("*.b.example.com")),
            ("example.com", Some("*.com")),
            ("com", None),
            ("localhost", Some("localhost")),
            ("localhost..", None),
            ("a.localhost", None),
            ("a.example.org", None),
            (".example.com", Some("*.example.com")),
            ("", None),
            (".", None),
            (":80", None),
            ("[::1]:80", None),
            ("10.0.0.1", None),
            ("*.example.com", Some("*.example.com")),
        ] {
            assert_eq!(table.find(asked.as_bytes()).map(String::as_str), found, "{asked}");
        }
        assert_eq!(table.count(), 5);
        assert_eq!(table.find("a".repeat(254).as_bytes()), None);
        assert_eq!(table.find(b"\xff.example.com"), None, "no name has bytes that are not text");
    }

    proptest! {
        #[test]
        fn what_is_found_covers_what_was_asked(asked in "([ab]\\.){0,3}(com|org)", names in prop::collection::vec("(\\*\\.)?([ab]\\.){0,3}(com|org)", 0..8)) {
            let table = table(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let asked: Host = asked.parse().unwrap();
            let all = names.iter().map(|name| name.parse::<Host>().unwrap());
            let covering = all.filter(|host| host.covers(&asked));
            // An exact name has no star, and wins over all wildcards.
            let best = covering.max_by_key(|host| (host.parent().is_none(), host.as_str().len()));
            let found = table.find(asked.as_str().as_bytes()).map(String::as_str);
            prop_assert_eq!(found, best.as_ref().map(Host::as_str));
        }

        #[test]
        fn no_bytes_make_it_panic(asked in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = table(&["*.com", "a.com"]).find(&asked);
        }
    }
}
