//! Formats YAML errors as one line in plain words.

use std::borrow::Cow;

use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter};

/// The parser's messages, except those addressed to programmers.
struct Ours;

impl MessageFormatter for Ours {
    fn format_message<'a>(&self, error: &'a Error) -> Cow<'a, str> {
        match error {
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the key {key} stands here a second time; want each key once").into()
            }
            Error::DuplicateMappingKey { key: None, .. } => {
                "a key stands here a second time; want each key once".into()
            }
            _ => DefaultMessageFormatter.format_message(error),
        }
    }
}

/// Returns the problem and its place; further lines, which draw the place, are left out.
pub(super) fn problem(error: &Error) -> String {
    let message = error.render_with_formatter(&Ours);
    let first = message.lines().next().unwrap_or_default().trim_end_matches(':');
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}
