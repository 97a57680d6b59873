//! Parses a program's environment once, and reports all faults at once.

use std::str::FromStr;

use thiserror::Error;

/// A variable with a missing or invalid value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name}={value:?}: {problem}")]
pub struct Fault {
    /// The variable.
    pub name: &'static str,
    /// Its value; empty if it is not set.
    pub value: String,
    /// What is wrong, and what is expected.
    pub problem: String,
}

/// Reads variables through a lookup function, so that tests need no environment. A faulty variable is recorded and
/// read as a placeholder, which is never used because [`Self::finish`] then fails.
#[derive(Debug)]
pub struct Environment<F> {
    lookup: F,
    faults: Vec<Fault>,
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    /// Creates a reader that has read nothing yet.
    pub const fn new(lookup: F) -> Self {
        Self { lookup, faults: Vec::new() }
    }

    /// Returns the text of a variable; `None` if it is not set or empty.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|text| !text.is_empty())
    }

    /// Reads an optional variable. `want` describes what is expected.
    pub fn read<T: FromStr>(&mut self, name: &'static str, default: T, want: &str) -> T {
        let Some(text) = self.text(name) else { return default };
        text.parse().unwrap_or_else(|_| {
            self.fault(name, &text, format!("want {want}"));
            default
        })
    }

    /// Reads a required variable. `unused` is the placeholder if it is faulty.
    pub fn required<T: FromStr>(&mut self, name: &'static str, unused: T, want: &str) -> T {
        if self.text(name).is_none() {
            self.fault(name, "", format!("not set; want {want}"));
        }
        self.read(name, unused, want)
    }

    /// Reads a port from 1 to 65535, which is required if there is no `default`.
    pub fn port(&mut self, name: &'static str, default: Option<u16>) -> u16 {
        let want = "a port number from 1 to 65535";
        let port = match default {
            Some(default) => self.read(name, default, want),
            None => self.required(name, 1, want),
        };
        if port == 0 {
            self.fault(name, "0", format!("want {want}"));
        }
        port
    }

    /// Records a fault of a variable.
    pub fn fault(&mut self, name: &'static str, value: &str, problem: String) {
        self.faults.push(Fault { name, value: value.to_owned(), problem });
    }

    /// Returns `config` if there were no faults.
    ///
    /// # Errors
    ///
    /// Returns all faults, in the order in which they were found.
    pub fn finish<T>(self, config: T) -> Result<T, Vec<Fault>> {
        if self.faults.is_empty() { Ok(config) } else { Err(self.faults) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_gathered_and_defaults_are_for_what_is_not_set() {
        let vars = [("A", "7"), ("B", "x"), ("EMPTY", ""), ("P", "0"), ("Q", "70000")];
        let mut env =
            Environment::new(|name| vars.iter().find(|(var, _)| *var == name).map(|(_, v)| (*v).to_owned()));
        assert_eq!(env.read("A", 1, "a number"), 7);
        assert_eq!(env.read("B", 1, "a number"), 1);
        assert_eq!(env.read("EMPTY", 2, "a number"), 2);
        assert_eq!(env.required("MISSING", 3, "a number"), 3);
        env.port("P", None);
        env.port("Q", Some(80));
        let faults: Vec<String> = env.finish(()).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                r#"B="x": want a number"#,
                r#"MISSING="": not set; want a number"#,
                r#"P="0": want a port number from 1 to 65535"#,
                r#"Q="70000": want a port number from 1 to 65535"#,
            ]
        );
    }
}
