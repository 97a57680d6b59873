//! Selectors as text, in the format of `kubectl get -l`.

use std::collections::BTreeMap;

/// The labels that pods must have.
pub(crate) type Labels = BTreeMap<String, String>;

/// Formats `selector`: `app=hello,tier=web`.
pub(crate) fn to_text(selector: &Labels) -> String {
    let pairs: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// Parses a selector; `None` if `text` is invalid, or selects everything.
pub(crate) fn from_text(text: &str) -> Option<Labels> {
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    text.split(',').map(pair).collect()
}

/// Returns whether `selector` selects an object with `labels`.
pub(crate) fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["", "app", "=x", "a=1,,b=2", "a=1,"] {
            assert_eq!(from_text(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_selector_is_read_back_from_its_text(
            selector in prop::collection::btree_map("[a-z./-]{1,20}", "[a-zA-Z0-9._-]{0,20}", 1..5)
        ) {
            prop_assert_eq!(from_text(&to_text(&selector)), Some(selector));
        }
    }
}
