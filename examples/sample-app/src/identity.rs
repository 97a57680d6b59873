//! The names under which one process answers, so that a client can tell the pods apart.

use http::HeaderValue;

/// Who this process says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Goes into the greeting: `$HOSTNAME`, or the process id.
    pub(super) host: String,
    /// Goes into the header `sample-pod`: `$EBB_POD`, or the process id.
    pub(super) pod: HeaderValue,
}

impl Identity {
    /// Reads the two names through `lookup`. An `EBB_POD` that no header can carry counts as absent.
    pub(super) fn from_lookup(lookup: impl Fn(&str) -> Option<String>, process_id: u32) -> Self {
        Self {
            host: lookup("HOSTNAME").unwrap_or_else(|| process_id.to_string()),
            pod: lookup("EBB_POD")
                .and_then(|name| HeaderValue::try_from(name).ok())
                .unwrap_or_else(|| HeaderValue::from(process_id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_id_stands_in_for_missing_and_for_unusable_names() {
        let by_id = Identity { host: "42".to_owned(), pod: HeaderValue::from_static("42") };
        assert_eq!(Identity::from_lookup(|_| None, 42), by_id);

        let unusable = |name: &str| (name == "EBB_POD").then(|| "two\nlines".to_owned());
        assert_eq!(Identity::from_lookup(unusable, 42), by_id);
    }

    #[test]
    fn the_names_come_from_the_environment() {
        let identity = Identity::from_lookup(|name| Some(format!("{name}-7")), 42);
        let expected = Identity { host: "HOSTNAME-7".to_owned(), pod: HeaderValue::from_static("EBB_POD-7") };
        assert_eq!(identity, expected);
    }
}
