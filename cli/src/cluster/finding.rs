//! The findings of checks: how severe each is, what it is, and what to do about it.

use serde_json::{Value, json};

use super::Failure;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// All is well.
    Ok,
    /// It works, but could be better.
    Hint,
    /// It works but may stop working, or could not be checked.
    Warning,
    /// It does not work.
    Fault,
}

/// A finding of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// The check, as a word for programs.
    pub(crate) check: &'static str,
    pub(crate) what: String,
    /// What to do, line by line; empty if all is well.
    pub(crate) todo: String,
    /// The Services that it is about, if it is the same for several.
    pub(crate) services: Vec<String>,
}

/// The number of names shown in a finding about many.
const NAMED: usize = 5;

/// All findings, printed as they are found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    findings: Vec<Finding>,
    is_silent: bool,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Hint => "hint",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

impl Finding {
    const fn new(level: Level, check: &'static str, what: String, todo: String) -> Self {
        Self { level, check, what, todo, services: Vec::new() }
    }

    /// Creates a finding for something that could not be checked.
    pub(crate) fn unseen(check: &'static str, failure: &Failure) -> Self {
        let todo = if failure.is_forbidden() {
            "use another context, or grant more rights to this one"
        } else {
            "check the API server and the object, and try again"
        };
        Self::warning(check, format!("cannot check this: {failure}"), todo)
    }

    /// Returns the same finding about each of these Services.
    pub(crate) fn about(self, services: Vec<String>) -> Self {
        Self { services, ..self }
    }

    pub(crate) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(Level::Ok, check, what.into(), String::new())
    }

    pub(crate) fn hint(check: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(Level::Hint, check, what.into(), todo.into())
    }

    pub(crate) fn warning(check: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(Level::Warning, check, what.into(), todo.into())
    }

    pub(crate) fn fault(check: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(Level::Fault, check, what.into(), todo.into())
    }

    /// Formats the finding for people: one line, and lines of what to do.
    pub(crate) fn lines(&self) -> Vec<String> {
        let what = match &*self.services {
            [] => self.what.clone(),
            services => format!("{}: {}", some_of(services), self.what),
        };
        let mut what = what.lines();
        let mut lines = vec![format!("{:<8} {}", self.level.as_str(), what.next().unwrap_or_default())];
        lines.extend(what.map(|line| format!("{:<8} {line}", "")));
        let todo = self.todo.lines().enumerate();
        lines.extend(
            todo.map(|(index, line)| format!("{:<8} {} {line}", "", if index == 0 { '→' } else { ' ' })),
        );
        lines
    }

    fn to_json(&self) -> Value {
        let todo = (!self.todo.is_empty()).then_some(&self.todo);
        json!({
            "level": self.level.as_str(),
            "check": self.check,
            "services": self.services,
            "what": self.what,
            "do": todo,
        })
    }
}

fn some_of(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let first = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

impl Report {
    /// Creates a report that prints nothing before the end, for programs.
    pub(crate) fn silent() -> Self {
        Self { is_silent: true, ..Self::default() }
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        if !self.is_silent {
            finding.lines().iter().for_each(|line| println!("{line}"));
        }
        self.findings.push(finding);
    }

    pub(crate) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    pub(crate) fn has_faults(&self) -> bool {
        self.count(Level::Fault) > 0
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Returns a summary line.
    pub(crate) fn summary(&self) -> String {
        let number = |level, one: &str| match self.count(level) {
            0 => format!("no {one}s"),
            1 => format!("1 {one}"),
            many => format!("{many} {one}s"),
        };
        format!(
            "{}, {}, {}",
            number(Level::Fault, "fault"),
            number(Level::Warning, "warning"),
            number(Level::Hint, "hint")
        )
    }

    pub(crate) fn to_json(&self) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(Finding::to_json).collect();
        json!({ "healthy": !self.has_faults(), "findings": findings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_what_to_do_below_it() {
        let finding = Finding::fault("rights", "it may not\nread", "first\nsecond");
        assert_eq!(
            finding.lines(),
            ["fault    it may not", "         read", "         → first", "           second"]
        );
        assert_eq!(Finding::ok("api", "fine").lines(), ["ok       fine"]);
    }

    #[test]
    fn what_holds_of_many_is_said_once() {
        let names = |number: usize| (0..number).map(|index| format!("a/{index}")).collect();
        assert_eq!(Finding::ok("s", "x").about(names(2)).lines(), ["ok       a/0, a/1: x"]);
        assert_eq!(
            Finding::ok("s", "x").about(names(7)).lines(),
            ["ok       a/0, a/1, a/2, a/3, a/4 and 2 more: x"]
        );
        assert_eq!(Finding::ok("s", "x").about(names(7)).to_json()["services"].as_array().unwrap().len(), 7);
    }

    #[test]
    fn who_may_not_look_is_told_so() {
        let failure = |code| Failure { what: "reading x".to_owned(), code, text: "no".to_owned() };
        assert!(Finding::unseen("a", &failure(Some(403))).todo.contains("more rights"));
        assert!(Finding::unseen("a", &failure(None)).todo.contains("try again"));
    }

    #[test]
    fn only_faults_make_a_cluster_unhealthy() {
        let mut report = Report::silent();
        report.add(Finding::warning("a", "b", "c"));
        assert_eq!(report.to_json()["healthy"], true);
        assert_eq!(report.summary(), "no faults, 1 warning, no hints");
        report.extend([Finding::fault("a", "b", "c"), Finding::fault("a", "b", "c")]);
        assert_eq!(report.to_json()["healthy"], false);
        assert_eq!(report.to_json()["findings"][1]["do"], "c");
        assert_eq!(report.summary(), "2 faults, 1 warning, no hints");
    }
}
