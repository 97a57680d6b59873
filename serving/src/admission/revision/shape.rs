//! Values that the schema leaves open.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::super::fault::{Faults, HERE};

/// The most characters of a value that a fault quotes.
const MOST_QUOTED: usize = 80;

/// Returns the fault of a value that is not a `T`. Without it, the pod could not be made of it.
pub(super) fn faults_of<T: DeserializeOwned>(value: Option<&Value>, path: &str) -> Faults {
    let Some(value) = value else { return Faults::default() };
    match Option::<T>::deserialize(value) {
        Ok(_) => Faults::default(),
        Err(why) => Faults::invalid_value(quoted(value), path).with_details(why.to_string()),
    }
}

/// Returns the faults of a list's elements that are not a `T`.
pub(super) fn faults_of_each<T: DeserializeOwned>(values: &[Value], list: &str) -> Faults {
    let element = |(index, value)| faults_of::<T>(Some(value), HERE).via_index(list, index);
    values.iter().enumerate().map(element).collect()
}

/// Returns a field of an object, if it is there and not null.
pub(super) fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// Returns a field of an object as text; empty if it is none.
pub(super) fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    field(object, name).and_then(Value::as_str).unwrap_or_default()
}

/// Returns a value as text: a string as it is, anything else as JSON, which is cut if it is long.
pub(super) fn quoted(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(MOST_QUOTED) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
