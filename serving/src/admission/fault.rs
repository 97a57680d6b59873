//! What is wrong with an object, and where.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

/// The most faults, and the most warnings, that are told of one object; it may have any number of wrong fields.
const MOST: usize = 500;

/// The path of the value itself, as long as no field above it is known.
pub const HERE: &str = "";

/// One thing that is wrong, at one or several places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, without the place.
    pub message: String,
    /// The fields, as `spec.containers[0].image`. Without any, the fault is of no field in particular.
    pub paths: Vec<String>,
    /// More about it, in lines of its own; empty if there is no more.
    pub details: String,
}

/// What is wrong with an object or a part of it.
///
/// Paths begin at the part. Whoever examines the whole puts the part's place before them ([`via_field`],
/// [`via_index`], [`via_key`]).
///
/// [`via_field`]: Self::via_field
/// [`via_index`]: Self::via_index
/// [`via_key`]: Self::via_key
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Faults {
    refusing: Found,
    warning: Found,
}

/// What was found of one level. Of very many, only the number is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    told: Vec<Fault>,
    untold: usize,
}

impl Faults {
    /// Returns a fault of these words at one path.
    pub fn generic(message: impl Into<String>, path: &str) -> Self {
        Self::at(message, &[path])
    }

    /// Returns a fault of these words at several paths.
    pub fn at(message: impl Into<String>, paths: &[&str]) -> Self {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        let fault = Fault { message: message.into(), paths, details: String::new() };
        Self { refusing: Found { told: vec![fault], untold: 0 }, warning: Found::default() }
    }

    /// Returns a fault of these words that is of no field in particular.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self::at(message, &[])
    }

    /// Returns that a field is needed.
    pub fn missing(path: &str) -> Self {
        Self::generic("missing field(s)", path)
    }

    /// Returns that a field must not be set.
    pub fn disallowed(path: &str) -> Self {
        Self::generic("must not set the field(s)", path)
    }

    /// Returns that one of these fields is needed, and none is there.
    pub fn one_of_neither(paths: &[&str]) -> Self {
        Self::at("expected exactly one, got neither", paths)
    }

    /// Returns that only one of these fields may be there, which all are.
    pub fn one_of_both(paths: &[&str]) -> Self {
        Self::at("expected exactly one, got both", paths)
    }

    /// Returns that a field has a value that it cannot have.
    pub fn invalid_value(value: impl Display, path: &str) -> Self {
        Self::generic(format!("invalid value: {value}"), path)
    }

    /// Returns that a map has a key, or a field a name, that it cannot have.
    pub fn invalid_key(key: &str, path: &str) -> Self {
        Self::generic(format!("invalid key name {key:?}"), path)
    }

    /// Returns that a number is not within `low` and `high`, which are allowed themselves.
    pub fn out_of_bounds(value: impl Display, low: impl Display, high: impl Display, path: &str) -> Self {
        Self::generic(format!("expected {low} <= {value} <= {high}"), path)
    }

    /// Adds details to each fault.
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        let details = details.into();
        self.each().for_each(|fault| fault.details.clone_from(&details));
        self
    }

    /// Makes each fault a warning, with which the object is admitted.
    pub fn as_warnings(mut self) -> Self {
        self.warning.add(self.refusing);
        Self { refusing: Found::default(), warning: self.warning }
    }

    /// Adds other faults.
    pub fn add(&mut self, others: Self) {
        self.refusing.add(others.refusing);
        self.warning.add(others.warning);
    }

    /// Returns these faults and others.
    pub fn and(mut self, others: Self) -> Self {
        self.add(others);
        self
    }

    /// Says that the part is the field `name`, which may be a path of several.
    pub fn via_field(self, name: &str) -> Self {
        self.via(name)
    }

    /// Says that the part is the element `index` of the list `name`.
    pub fn via_index(self, name: &str, index: usize) -> Self {
        self.via(&format!("{name}[{index}]"))
    }

    /// Says that the part is the value of `key` in the map `name`.
    pub fn via_key(self, name: &str, key: &str) -> Self {
        self.via(&format!("{name}[{key}]"))
    }

    /// Returns the faults that have a path below the field `name`, and no others.
    pub fn within(mut self, name: &str) -> Self {
        let is_within = |fault: &Fault| fault.paths.iter().any(|path| path.starts_with(&format!("{name}.")));
        self.refusing.told.retain(is_within);
        self.warning.told.retain(is_within);
        self
    }

    /// Returns whether nothing is wrong, and there is nothing to warn of.
    pub fn is_empty(&self) -> bool {
        self.refusing.told.is_empty() && self.warning.told.is_empty()
    }

    /// Returns why the object is refused, in lines; `None` if it is not.
    ///
    /// Faults that say the same are one, with the paths of all. They are sorted by what they say.
    pub fn text(&self) -> Option<String> {
        let groups = self.refusing.groups();
        (!groups.is_empty()).then(|| groups.join("\n"))
    }

    /// Returns what to warn of, grouped and sorted in the same way.
    pub fn warnings(&self) -> Vec<String> {
        self.warning.groups()
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Fault> {
        self.refusing.told.iter_mut().chain(&mut self.warning.told)
    }

    fn via(mut self, place: &str) -> Self {
        for path in self.each().flat_map(|fault| &mut fault.paths) {
            *path = match path.as_str() {
                HERE => place.to_owned(),
                element if element.starts_with('[') => format!("{place}{element}"),
                field => format!("{place}.{field}"),
            };
        }
        self
    }
}

impl Found {
    fn add(&mut self, others: Self) {
        let room = MOST.saturating_sub(self.told.len());
        self.untold += others.untold + others.told.len().saturating_sub(room);
        self.told.extend(others.told.into_iter().take(room));
    }

    fn groups(&self) -> Vec<String> {
        let mut groups: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for fault in &self.told {
            let group = groups.entry((&fault.message, &fault.details)).or_default();
            group.extend(fault.paths.iter().map(String::as_str));
        }
        let line = |((message, details), paths): ((&str, &str), BTreeSet<&str>)| {
            let paths = paths.into_iter().collect::<Vec<_>>().join(", ");
            let rest = if details.is_empty() { String::new() } else { format!("\n{details}") };
            format!("{message}: {paths}{rest}")
        };
        let rest = (self.untold > 0).then(|| format!("and {} more", self.untold));
        groups.into_iter().map(line).chain(rest).collect()
    }
}

impl FromIterator<Self> for Faults {
    fn from_iter<I: IntoIterator<Item = Self>>(parts: I) -> Self {
        parts.into_iter().fold(Self::default(), Self::and)
    }
}

impl Extend<Self> for Faults {
    fn extend<I: IntoIterator<Item = Self>>(&mut self, parts: I) {
        parts.into_iter().for_each(|part| self.add(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_that_say_the_same_are_one_and_all_are_sorted() {
        let faults = [
            Faults::missing("b"),
            Faults::invalid_value("web", "port").with_details("Probe port must match"),
            Faults::missing("a"),
            Faults::missing("b"),
            Faults::invalid_value("web", "other"),
            Faults::generic("Capitals come first", "z"),
        ];
        let text = faults.into_iter().collect::<Faults>().text().unwrap();
        let lines = [
            "Capitals come first: z",
            "invalid value: web: other",
            "invalid value: web: port",
            "Probe port must match",
            "missing field(s): a, b",
        ];
        assert_eq!(text, lines.join("\n"));
    }

    #[test]
    fn every_way_of_being_wrong_has_its_words() {
        for (faults, text) in [
            (Faults::missing("a"), "missing field(s): a"),
            (Faults::disallowed("a"), "must not set the field(s): a"),
            (Faults::one_of_neither(&["b", "a"]), "expected exactly one, got neither: a, b"),
            (Faults::one_of_both(&["a", "b"]), "expected exactly one, got both: a, b"),
            (Faults::invalid_value(-3, "a"), "invalid value: -3: a"),
            (Faults::invalid_key("k/\"x", "a"), "invalid key name \"k/\\\"x\": a"),
            (Faults::out_of_bounds(-10, 0, i32::MAX, "a"), "expected 0 <= -10 <= 2147483647: a"),
            (Faults::nowhere("it is off").via_field("spec"), "it is off: "),
        ] {
            assert_eq!(faults.text().as_deref(), Some(text));
        }
    }

    #[test]
    fn places_are_put_before_the_paths() {
        for (faults, path) in [
            (
                Faults::missing("image").via_index("containers", 1).via_field("spec"),
                "spec.containers[1].image",
            ),
            (Faults::missing(HERE).via_index("containers", 1), "containers[1]"),
            (
                Faults::missing(HERE).via_key("annotations", "a.b/c").via_field("metadata"),
                "metadata.annotations[a.b/c]",
            ),
            (Faults::missing("[0]").via_field("groups"), "groups[0]"),
        ] {
            assert_eq!(faults.text().unwrap(), format!("missing field(s): {path}"));
        }
    }

    #[test]
    fn a_warning_refuses_nothing() {
        let faults = Faults::generic("this is old", "a").as_warnings();
        assert_eq!((faults.text(), faults.is_empty()), (None, false));
        let both = faults.and(Faults::missing("b"));
        assert_eq!(both.text().as_deref(), Some("missing field(s): b"));
        assert_eq!(both.warnings(), ["this is old: a"]);
    }

    #[test]
    fn of_very_many_faults_the_rest_is_counted_and_warnings_displace_none() {
        let index = |index| Faults::missing(HERE).via_index("list", index);
        let many: Faults = (0..MOST + 7).map(index).collect();
        assert!(many.text().unwrap().ends_with("\nand 7 more"));
        assert_eq!(many.refusing.told.len(), MOST);
        let all = many.as_warnings().and(Faults::missing("image"));
        assert_eq!(all.text().as_deref(), Some("missing field(s): image"));
        assert_eq!(all.warnings().last().map(String::as_str), Some("and 7 more"));
    }
}
