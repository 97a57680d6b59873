//! What changed in what must not change, in the words of Go's types.
//!
//! Two spellings of the same value are no change: clients in Go write `1` for `1000m`, and leave out what is empty.

mod spelling;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};
use spelling::Kind;

use super::revision::nanos;
use crate::api::{RevisionSpec, RevisionTemplate};

/// The most bytes of the changes; people read them on a terminal.
const MOST: usize = 4096;
/// The most bytes of one value.
const MOST_OF_VALUE: usize = 512;
/// How deep values are compared field by field; deeper ones are shown whole.
const DEEPEST: usize = 24;

/// Returns what differs between two templates, and how to make a revision of the new one; `None` if both mean the
/// same.
pub fn template(old: &RevisionTemplate, new: &RevisionTemplate) -> Option<String> {
    let changes = changes(&Place::root("{*v1.RevisionTemplateSpec}", Kind::Template), old, new)?;
    let remedy = "A revision never changes. To make a new one, change or remove spec.template.metadata.name.";
    Some(format!("{changes}\n{remedy}"))
}

/// Returns what differs between two specs of revisions; `None` if both mean the same.
pub fn spec(old: &RevisionSpec, new: &RevisionSpec) -> Option<String> {
    changes(&Place::root("{v1.RevisionSpec}", Kind::Spec), old, new)
}

fn changes<T: Serialize + PartialEq>(root: &Place, old: &T, new: &T) -> Option<String> {
    if old == new {
        return None;
    }
    let (Ok(old), Ok(new)) = (serde_json::to_value(old), serde_json::to_value(new)) else {
        return Some(format!("{}: changed", root.path));
    };
    let mut lines = Lines::default();
    compare(root, Some(&old), Some(&new), &mut lines);
    lines.text()
}

/// Where a value is.
struct Place {
    path: String,
    /// The field; of an element, the field of its list.
    field: String,
    /// What the value is.
    kind: Kind,
    /// What has the field.
    parent: Kind,
    depth: usize,
}

impl Place {
    fn root(path: &str, kind: Kind) -> Self {
        Self { path: path.to_owned(), field: String::new(), kind, parent: Kind::Other, depth: 0 }
    }

    /// Returns the place of a field of the object that is here.
    fn field(&self, name: &str) -> Self {
        Self {
            path: format!("{}{}", self.path, self.kind.step(&self.field, name)),
            field: name.to_owned(),
            kind: self.kind.of_field(name),
            parent: self.kind,
            depth: self.depth + 1,
        }
    }

    /// Returns the place of an element of the list that is here.
    fn element(&self, index: usize) -> Self {
        let path = format!("{}[{index}]", self.path);
        Self { path, field: self.field.clone(), depth: self.depth + 1, ..*self }
    }
}

fn compare(place: &Place, old: Option<&Value>, new: Option<&Value>, lines: &mut Lines) {
    let is_set = |value: &&Value| !place.parent.is_unset(&place.field, value);
    let empty = Value::Object(Map::new());
    let otherwise = spelling::is_never_missing(&place.field).then_some(&empty);
    match (old.filter(is_set).or(otherwise), new.filter(is_set).or(otherwise)) {
        (None, None) => {}
        (Some(old), Some(new)) if is_same(place, old, new) => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) if place.depth < DEEPEST => {
            compare_fields(place, old, new, lines);
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if place.depth < DEEPEST => {
            for index in 0..old.len().max(new.len()) {
                compare(&place.element(index), old.get(index), new.get(index), lines);
            }
        }
        (old, new) => lines.add(&place.path, old, new),
    }
}

fn compare_fields(place: &Place, old: &Map<String, Value>, new: &Map<String, Value>, lines: &mut Lines) {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        compare(&place.field(name), old.get(name), new.get(name), lines);
    }
}

fn is_same(place: &Place, old: &Value, new: &Value) -> bool {
    let amount = |value: &Value| nanos(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let is_quantity = place.parent == Kind::Quantities || place.field == "sizeLimit";
    old == new || (is_quantity && amount(old).is_some() && amount(old) == amount(new))
}

/// The text of changes.
#[derive(Default)]
struct Lines {
    text: String,
    untold: usize,
}

impl Lines {
    fn add(&mut self, path: &str, old: Option<&Value>, new: Option<&Value>) {
        let side = |sign: char, value: Option<&Value>| {
            value.map(|value| format!("\n\t{sign}: \"{}\"", shown(value))).unwrap_or_default()
        };
        let change = format!("{}:{}{}", cut(path.to_owned()), side('-', old), side('+', new));
        if self.untold > 0 || self.text.len() + change.len() > MOST {
            self.untold += 1;
            return;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&change);
    }

    fn text(self) -> Option<String> {
        match (self.text.is_empty(), self.untold) {
            (true, 0) => None,
            (_, 0) => Some(self.text),
            (_, untold) => Some(format!("{}\n... and {untold} more changes", self.text)),
        }
    }
}

fn shown(value: &Value) -> String {
    cut(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Returns a text that is not too long to be shown.
fn cut(text: String) -> String {
    if text.len() <= MOST_OF_VALUE {
        return text;
    }
    let end = (0..=MOST_OF_VALUE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}...", &text[..end])
}
