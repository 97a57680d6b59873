//! Conditions: what is true of an object, and what `Ready` makes of it.

use jiff::{Timestamp, tz::TimeZone};

use crate::api::Condition;

/// The condition that the others make up.
pub const READY: &str = "Ready";

/// Whether something is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It is.
    True,
    /// It is not, and will not become so by itself.
    False,
    /// It is not yet known.
    Unknown,
}

impl Truth {
    /// Returns it as a condition's status.
    pub fn text(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    /// Reads a condition's status; what is not a status is not known.
    pub fn of(text: &str) -> Self {
        match text {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

/// The conditions of one object while it is examined.
///
/// `Ready` follows from the conditions that it depends on: `False` if one of them is, else `Unknown` if one of them is,
/// with the reason and the message of the one that changed last. Without dependents, `Ready` is set like any other.
#[derive(Clone, Debug)]
pub struct Conditions {
    dependents: &'static [&'static str],
    before: Vec<Condition>,
    now: Vec<Condition>,
    time: String,
}

impl Conditions {
    /// Begins with the conditions that an object has. Dependents that it lacks are `Unknown`, or `True` if it is
    /// ready already: they came with a newer version.
    pub fn new(dependents: &'static [&'static str], before: &[Condition], now: Timestamp) -> Self {
        let mut conditions =
            Self { dependents, before: before.to_vec(), now: before.to_vec(), time: rfc3339(now) };
        let missing = if conditions.is_true(READY) { Truth::True } else { Truth::Unknown };
        for dependent in dependents {
            if conditions.get(dependent).is_none() {
                conditions.put(dependent, missing, "", "", "");
            }
        }
        if conditions.get(READY).is_none() {
            conditions.put(READY, Truth::Unknown, "", "", "");
        }
        conditions
    }

    /// Returns a condition.
    pub fn get(&self, type_: &str) -> Option<&Condition> {
        self.now.iter().find(|condition| condition.type_ == type_)
    }

    /// Returns whether a condition is `True`; one that is missing is `Unknown`.
    pub fn truth(&self, type_: &str) -> Truth {
        self.get(type_).map_or(Truth::Unknown, |condition| Truth::of(&condition.status))
    }

    /// Returns whether a condition is `True`.
    pub fn is_true(&self, type_: &str) -> bool {
        self.truth(type_) == Truth::True
    }

    /// Sets a condition, and `Ready` with it.
    pub fn set(&mut self, type_: &str, truth: Truth, reason: &str, message: &str) {
        self.put(type_, truth, "", reason, message);
        self.follow();
    }

    /// Sets a condition that is `True` without a reason.
    pub fn mark_true(&mut self, type_: &str) {
        self.set(type_, Truth::True, "", "");
    }

    /// Sets a condition that `Ready` does not depend on.
    pub fn inform(&mut self, type_: &str, truth: Truth, reason: &str, message: &str) {
        self.put(type_, truth, "Info", reason, message);
    }

    /// Copies another object's condition as the condition `type_`.
    pub fn copy(&mut self, type_: &str, of: &Condition) {
        self.set(type_, Truth::of(&of.status), &of.reason, &of.message);
    }

    /// Removes a condition that does not exist any more.
    pub fn remove(&mut self, type_: &str) {
        self.now.retain(|condition| condition.type_ != type_);
        self.follow();
    }

    /// Returns the conditions, sorted by type. Those that are as before keep their time.
    pub fn finish(self) -> Vec<Condition> {
        let Self { before, mut now, .. } = self;
        now.sort_by(|a, b| a.type_.cmp(&b.type_));
        for condition in &mut now {
            let same = before.iter().find(|old| says_the_same(old, condition));
            if let Some(old) = same {
                condition.last_transition_time.clone_from(&old.last_transition_time);
            }
        }
        now
    }

    fn put(&mut self, type_: &str, truth: Truth, severity: &str, reason: &str, message: &str) {
        let condition = Condition {
            type_: type_.to_owned(),
            status: truth.text().to_owned(),
            severity: severity.to_owned(),
            last_transition_time: Some(self.time.clone()),
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        match self.now.iter_mut().find(|old| old.type_ == type_) {
            Some(old) if says_the_same(old, &condition) => {}
            Some(old) => *old = condition,
            None => self.now.push(condition),
        }
    }

    fn follow(&mut self) {
        if self.dependents.is_empty() {
            return;
        }
        let of = |truth: Truth| {
            let all = self.now.iter().filter(|one| self.dependents.contains(&one.type_.as_str()));
            let all = all.filter(|one| Truth::of(&one.status) == truth);
            // Of those that changed in the same second, the first by name.
            all.min_by_key(|one| (std::cmp::Reverse(one.last_transition_time.clone()), one.type_.clone()))
        };
        let worst = of(Truth::False).or_else(|| of(Truth::Unknown)).cloned();
        match worst {
            Some(worst) => {
                self.put(READY, Truth::of(&worst.status), "", &worst.reason, &worst.message);
            }
            None => self.put(READY, Truth::True, "", "", ""),
        }
    }
}

/// Returns a time as the API writes it: in UTC, in whole seconds.
pub fn rfc3339(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn says_the_same(a: &Condition, b: &Condition) -> bool {
    (&a.type_, &a.status, &a.severity, &a.reason, &a.message)
        == (&b.type_, &b.status, &b.severity, &b.reason, &b.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &[&str] = &["ConfigurationsReady", "RoutesReady"];

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn words(conditions: &[Condition]) -> Vec<String> {
        let word = |one: &Condition| format!("{}={} {} {}", one.type_, one.status, one.reason, one.message);
        conditions.iter().map(|one| word(one).trim_end().to_owned()).collect()
    }

    #[test]
    fn a_new_object_knows_nothing_yet() {
        let begun = Conditions::new(BOTH, &[], at(0)).finish();
        assert_eq!(words(&begun), ["ConfigurationsReady=Unknown", "Ready=Unknown", "RoutesReady=Unknown"]);
        assert_eq!(begun[0].last_transition_time.as_deref(), Some("2027-01-15T08:00:00Z"));
    }

    #[test]
    fn ready_is_what_the_worst_dependent_says() {
        let mut conditions = Conditions::new(BOTH, &[], at(0));
        conditions.mark_true("RoutesReady");
        assert_eq!(conditions.truth(READY), Truth::Unknown);
        conditions.set("ConfigurationsReady", Truth::False, "RevisionFailed", "it failed");
        conditions.set("RoutesReady", Truth::Unknown, "TrafficNotMigrated", "not yet");
        let ready = conditions.get(READY).unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "RevisionFailed"));
        conditions.mark_true("ConfigurationsReady");
        assert_eq!(conditions.get(READY).unwrap().reason, "TrafficNotMigrated");
        conditions.mark_true("RoutesReady");
        let ready = conditions.get(READY).unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", ""));
    }

    #[test]
    fn of_several_that_are_false_the_one_that_changed_last_speaks() {
        let mut first = Conditions::new(BOTH, &[], at(0));
        first.set("RoutesReady", Truth::False, "Old", "");
        let mut second = Conditions::new(BOTH, &first.finish(), at(5));
        second.set("ConfigurationsReady", Truth::False, "New", "");
        assert_eq!(second.get(READY).unwrap().reason, "New");
    }

    #[test]
    fn a_condition_keeps_its_time_while_it_says_the_same_even_if_it_was_something_else_in_between() {
        let mut first = Conditions::new(BOTH, &[], at(0));
        first.mark_true("RoutesReady");
        let first = first.finish();
        let mut second = Conditions::new(BOTH, &first, at(60));
        second.set("RoutesReady", Truth::Unknown, "OutOfDate", "");
        second.mark_true("RoutesReady");
        second.set("ConfigurationsReady", Truth::False, "RevisionFailed", "");
        let second = second.finish();
        assert_eq!(second[2], first[2]);
        assert_eq!(second[0].last_transition_time.as_deref(), Some("2027-01-15T08:01:00Z"));
    }

    #[test]
    fn what_only_informs_does_not_touch_ready() {
        let mut conditions = Conditions::new(&["ResourcesAvailable"], &[], at(0));
        conditions.mark_true("ResourcesAvailable");
        conditions.inform("Active", Truth::False, "NoTraffic", "The target is not receiving traffic.");
        assert!(conditions.is_true(READY));
        assert_eq!(conditions.get("Active").unwrap().severity, "Info");
    }

    #[test]
    fn a_dependent_that_an_older_version_did_not_know_is_true_if_the_object_is_ready() {
        let mut old = Conditions::new(&["RoutesReady"], &[], at(0));
        old.mark_true("RoutesReady");
        let new = Conditions::new(BOTH, &old.finish(), at(1));
        assert!(new.is_true("ConfigurationsReady") && new.is_true(READY));
    }
}
