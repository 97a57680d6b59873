//! Reads one map, key by key, and collects everything that is wrong with it.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use ebb_annotations::{GoDuration, boolean};

use super::{Fault, Map, Template, setting::Setting};

/// The most faults of one map that are collected.
const MOST_FAULTS: usize = 50;

/// A key and its value, trimmed: a block of YAML ends with a line break.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) key: &'static str,
    pub(super) text: &'a str,
}

/// A map while it is read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    map: Map,
    data: &'a BTreeMap<String, String>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(map: Map, data: &'a BTreeMap<String, String>) -> Self {
        Self { map, data, faults: Vec::new() }
    }

    /// Returns `value`, or what was wrong.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Vec<Fault>> {
        if self.faults.is_empty() { Ok(value) } else { Err(self.faults) }
    }

    /// Finds the first spelling of a key that is there.
    pub(super) fn find(&self, setting: &Setting) -> Option<Found<'a>> {
        setting.spellings().find_map(|key| Some(Found { key, text: self.data.get(key)?.trim() }))
    }

    /// Finds a key whose value is not empty. With an empty one, its default holds.
    fn find_filled(&self, setting: &Setting) -> Option<Found<'a>> {
        self.find(setting).filter(|found| !found.text.is_empty())
    }

    /// Adds a fault from what is wrong, phrased to follow the value in a sentence, and from what is allowed.
    pub(super) fn fault(&mut self, key: &str, value: &str, problem: &str, want: &str) {
        self.push(Fault::new(self.map, key, value, problem, want));
    }

    /// Adds a fault whose text is that of the reference.
    pub(super) fn quote(&mut self, key: &str, value: &impl ToString, text: String) {
        self.push(Fault { map: self.map, key: key.to_owned(), value: value.to_string(), text });
    }

    fn push(&mut self, fault: Fault) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }

    /// Sets an integer.
    pub(super) fn integer(&mut self, setting: &Setting, field: &mut i64, allowed: RangeInclusive<i64>) {
        let Some(Found { key, text }) = self.find(setting) else { return };
        match text.parse() {
            Ok(value) if allowed.contains(&value) => *field = value,
            read => {
                let (low, high) = allowed.into_inner();
                let problem = if read.is_ok() { "is out of range" } else { "is not an integer" };
                self.fault(key, text, problem, &format!("an integer from {low} to {high}"));
            }
        }
    }

    /// Sets a boolean.
    pub(super) fn boolean(&mut self, setting: &Setting, field: &mut bool) {
        let Some(Found { key, text }) = self.find(setting) else { return };
        match boolean(text) {
            Ok(value) => *field = value,
            Err(_) => self.fault(key, text, "is not a boolean", "true or false"),
        }
    }

    /// Sets one of several values by its word, in any case.
    pub(super) fn word<T: Copy>(&mut self, setting: &Setting, field: &mut T, words: &[(&str, T)]) {
        let Some(Found { key, text }) = self.find_filled(setting) else { return };
        if let Some((_, value)) = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            *field = *value;
            return;
        }
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.fault(key, text, "is not supported", &list(&words));
    }

    /// Sets a duration of whole seconds.
    pub(super) fn seconds(
        &mut self,
        setting: &Setting,
        field: &mut Duration,
        allowed: RangeInclusive<GoDuration>,
    ) {
        let Some(Found { key, text }) = self.find(setting) else { return };
        match text.parse::<GoDuration>() {
            Ok(value) if allowed.contains(&value) && value.is_whole_seconds() => *field = value.to_std(),
            read => {
                let problem = match read {
                    Err(_) => "is not a duration",
                    Ok(value) if allowed.contains(&value) => "has a fraction of a second",
                    Ok(_) => "is out of range",
                };
                let (low, high) = allowed.into_inner();
                self.fault(key, text, problem, &format!("whole seconds from {low} to {high}"));
            }
        }
    }

    /// Sets a duration above zero.
    pub(super) fn wait(&mut self, setting: &Setting, field: &mut Duration) {
        let Some(Found { key, text }) = self.find(setting) else { return };
        match text.parse::<GoDuration>() {
            Ok(value) if value > GoDuration::ZERO => *field = value.to_std(),
            Ok(_) => self.fault(key, text, "is not above zero", "a duration as 10s"),
            Err(_) => self.fault(key, text, "is not a duration", "a duration as 10s"),
        }
    }

    /// Sets a value that may be `disabled`; then it is `None`.
    pub(super) fn unless_disabled<T>(
        &mut self,
        setting: &Setting,
        field: &mut Option<T>,
        want: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) {
        let Some(Found { key, text }) = self.find_filled(setting) else { return };
        if text.eq_ignore_ascii_case("disabled") {
            *field = None;
            return;
        }
        match read(text) {
            Some(value) => *field = Some(value),
            None => self.fault(key, text, "is not allowed", want),
        }
    }

    /// Sets a template that is read, and tried out, by `read`.
    pub(super) fn template(
        &mut self,
        setting: &Setting,
        field: &mut Template,
        want: &str,
        read: impl FnOnce(&str) -> Result<Template, String>,
    ) {
        let Some(Found { key, text }) = self.find(setting) else { return };
        match read(text) {
            Ok(template) => *field = template,
            Err(problem) => self.fault(key, text, &problem, want),
        }
    }
}

/// Returns the words as an enumeration: `a, b or c`.
fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
