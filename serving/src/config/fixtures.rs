//! What the tests of several maps share.

use std::{collections::BTreeMap, fmt::Debug};

use super::Fault;

pub(super) fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Returns what is wrong, without the name of the map.
pub(super) fn faults<T: Debug>(read: Result<T, Vec<Fault>>) -> Vec<String> {
    read.unwrap_err().into_iter().map(|fault| fault.text).collect()
}
