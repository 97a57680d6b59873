//! Parsing of a setting's text, and the two ways in which it fails.

/// Why a text has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It does not have the required syntax.
    #[error("malformed")]
    Malformed,
    /// It has the required syntax, but does not fit the type.
    #[error("out of range")]
    OutOfRange,
}

/// A type of values in annotations and in the cluster's settings.
pub(super) trait Syntax: Sized {
    /// The type's name in messages, with its article.
    const NOUN: &'static str;

    /// Parses `text`.
    fn read(text: &str) -> Result<Self, Unreadable>;
}

impl Syntax for String {
    const NOUN: &'static str = "a text";

    fn read(text: &str) -> Result<Self, Unreadable> {
        Ok(text.to_owned())
    }
}

impl Syntax for bool {
    const NOUN: &'static str = "true or false";

    fn read(text: &str) -> Result<Self, Unreadable> {
        boolean(text)
    }
}

/// Reads a boolean in the reference's notation: `true` and `false`, all in lower case, all in upper case or
/// capitalized, their first letters, `1` and `0`.
///
/// # Errors
///
/// Returns [`Unreadable::Malformed`] for every other text.
pub fn boolean(text: &str) -> Result<bool, Unreadable> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Unreadable::Malformed),
    }
}

/// Splits off an optional sign; true if it is a minus.
pub(super) fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Splits off the longest prefix of characters that `is_wanted`.
pub(super) fn split_while(text: &str, is_wanted: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_wanted(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_spelled_in_the_twelve_known_ways_only() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(bool::read(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(bool::read(text), Ok(false), "{text}");
        }
        for text in ["", "yes", "tRUE", " true", "2"] {
            assert_eq!(bool::read(text), Err(Unreadable::Malformed), "{text}");
        }
    }
}
