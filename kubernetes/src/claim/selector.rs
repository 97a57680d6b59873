//! A Service's selector as text, in the form that `kubectl get -l` reads.

use std::collections::BTreeMap;

/// Labels that pods must have.
pub(crate) type Labels = BTreeMap<String, String>;

/// `selector` as text: `app=hello,tier=web`.
pub(crate) fn to_text(selector: &Labels) -> String {
    let pairs: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// The selector that `text` stands for; `None` if it is none, or selects everything.
pub(crate) fn from_text(text: &str) -> Option<Labels> {
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    text.split(',').map(pair).collect()
}

/// Whether `selector` selects what has `labels`.
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
