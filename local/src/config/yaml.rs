//! What is wrong with a file, in one line of our words.

use std::borrow::Cow;

use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter};

/// The parser's words, but for those that speak to who programs with it.
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

/// What and where; the lines after the first draw the place, and are left out.
pub(super) fn problem(error: &Error) -> String {
    let message = error.render_with_formatter(&Ours);
    let first = message.lines().next().unwrap_or_default().trim_end_matches(':');
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}
