//! The environment of a program, read once: text becomes types here, and all mistakes are told at once.

use std::str::FromStr;

use thiserror::Error;

/// A variable that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name}={value:?}: {problem}")]
pub struct Fault {
    /// The variable.
    pub name: &'static str,
    /// What it says; empty if it is not set.
    pub value: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Reads variables through a lookup, so that tests need no environment. A variable that is faulty is noted
/// and read as a value that nobody will use, because [`Self::finish`] refuses it.
#[derive(Debug)]
pub struct Environment<F> {
    lookup: F,
    faults: Vec<Fault>,
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    /// Nothing read yet.
    pub const fn new(lookup: F) -> Self {
        Self { lookup, faults: Vec::new() }
    }

    /// The text of a variable; `None` if it is not set or empty.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|text| !text.is_empty())
    }

    /// A variable that may be absent. `want` says what would be right.
    pub fn read<T: FromStr>(&mut self, name: &'static str, default: T, want: &str) -> T {
        let Some(text) = self.text(name) else { return default };
        text.parse().unwrap_or_else(|_| {
            self.fault(name, &text, format!("want {want}"));
            default
        })
    }

    /// A variable that must be there. `unused` stands in for one that is faulty.
    pub fn required<T: FromStr>(&mut self, name: &'static str, unused: T, want: &str) -> T {
        if self.text(name).is_none() {
            self.fault(name, "", format!("not set; want {want}"));
        }
        self.read(name, unused, want)
    }

    /// A port from 1 to 65535; without a `default` it must be there.
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

    /// Notes what is wrong with a variable.
    pub fn fault(&mut self, name: &'static str, value: &str, problem: String) {
        self.faults.push(Fault { name, value: value.to_owned(), problem });
    }

    /// `config`, if nothing was wrong.
    ///
    /// # Errors
    ///
    /// All faults, in the order in which they were found.
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
