//! Labels that an object must have, as they are written in the value of a key.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

/// Returns whether `labels` has everything that is `wanted`.
pub(super) fn matches(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Reads YAML; a text without a value, as only a comment, is the default.
///
/// # Errors
///
/// Returns what is wrong, phrased to follow the text in a sentence.
pub(super) fn read_yaml<T: DeserializeOwned + Default>(text: &str) -> Result<T, String> {
    let read = serde_saphyr::from_str::<Option<T>>(text);
    read.map(Option::unwrap_or_default).map_err(|error| {
        let why = error.to_string();
        format!("cannot be read: {}", why.lines().next().unwrap_or_default())
    })
}
