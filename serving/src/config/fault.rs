//! What must be fixed in a map.

use std::fmt;

use super::Map;

/// The longest value that is shown, in characters.
const LONGEST_SHOWN: usize = 100;

/// A setting that must be fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The map.
    pub map: Map,
    /// The key as it is spelled.
    pub key: String,
    /// Its value, shortened if it is long.
    pub value: String,
    /// What is wrong, and what is allowed, as a sentence with the key and the value.
    pub text: String,
}

impl Fault {
    /// Creates a fault from what is wrong, phrased to follow the value in a sentence, and from what is allowed.
    pub(super) fn new(map: Map, key: &str, value: &str, problem: &str, want: &str) -> Self {
        let value = shortened(value);
        let text = format!("{key}: {value:?} {problem}; want {want}");
        Self { map, key: key.to_owned(), value, text }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.map.name(), self.text)
    }
}

/// Returns the beginning of a text that may be as long as a map.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
