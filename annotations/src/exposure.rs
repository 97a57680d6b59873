//! How the gateway exposes a Service: `ebb.dev/hosts` and related annotations.

use std::collections::BTreeSet;

use ebb_core::{Host, NotAHost};

use super::{
    binding,
    fault::{Fault, FaultKind},
    keys::{self, Key},
    reading::{Reading, Texts},
};

/// The most hosts of one Service.
const MOST_HOSTS: usize = 64;
/// The longest list of hosts, in bytes.
const MAX_TEXT: usize = MOST_HOSTS * 256;

/// What the gateway must know of a Service or a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// The distinct hosts at which clients reach it, in the order in which they are written. If there are
    /// none, the gateway does not serve the Service.
    pub hosts: Vec<Host>,
    /// The Secret of type `kubernetes.io/tls`, in the Service's namespace, with the certificate of its hosts.
    /// `None` means that the gateway speaks no TLS for them.
    pub tls_secret: Option<String>,
    /// Whether plain HTTP requests are redirected to TLS.
    pub https_redirect: bool,
}

/// Reads the annotations, and adds all faults to `faults`; a fault of the hosts has the faulty host as its
/// value.
pub(super) fn read(texts: &Texts, faults: &mut Vec<Fault>) -> Exposure {
    let hosts = hosts(texts, faults);
    let tls_secret: Option<Reading<'_, String>> = Reading::find(texts, &keys::TLS_SECRET);
    faults.extend(tls_secret.as_ref().filter(|secret| !binding::is_object_name(secret.text)).map(|secret| {
        secret.fault(
            FaultKind::Invalid,
            "is not the name of a Secret",
            "the name of a Secret of the Service's namespace",
        )
    }));
    let redirect: Option<Reading<'_, bool>> = Reading::find(texts, &keys::HTTPS_REDIRECT);
    faults.extend(redirect.as_ref().and_then(Reading::no_value));
    let https_redirect = redirect.as_ref().is_some_and(|redirect| redirect.value == Ok(true));
    let mut needs = |key: &Key, wanted: &Key, is_there: bool| {
        if !is_there && let Some(value) = texts.get(key.name) {
            let (key, value, kind) = (key.name.to_owned(), value.clone(), FaultKind::Other);
            let problem = format!("stands without {}", wanted.name);
            faults.push(Fault { key, value, kind, problem, want: "both, or neither".to_owned() });
        }
    };
    needs(&keys::TLS_SECRET, &keys::HOSTS, texts.contains_key(keys::HOSTS.name));
    if https_redirect {
        needs(&keys::HTTPS_REDIRECT, &keys::TLS_SECRET, tls_secret.is_some());
    }
    let tls_secret = tls_secret.map(|secret| secret.text.to_owned());
    Exposure { hosts, tls_secret, https_redirect }
}

/// Returns the list of hosts without invalid ones, so that one mistake affects no other host.
pub fn usable_hosts(text: &str) -> String {
    let names = text.split(',').map(str::trim).take(MOST_HOSTS);
    names.filter(|name| name.parse::<Host>().is_ok()).collect::<Vec<_>>().join(", ")
}

/// Returns the hosts that a Namespace may use, and the faults of the text. An invalid entry allows nothing.
pub fn parse_allowed_hosts(text: &str) -> (Vec<Host>, Vec<String>) {
    let (mut hosts, mut faults) = (Vec::new(), Vec::new());
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name.parse::<Host>() {
            Ok(host) => hosts.push(host),
            Err(why) => faults.push(format!("ebb.dev/allowed-hosts: {name:?} {why}; want {}", wanted(why))),
        }
    }
    (hosts, faults)
}

fn hosts(texts: &Texts, faults: &mut Vec<Fault>) -> Vec<Host> {
    let Some(text) = texts.get(keys::HOSTS.name) else { return Vec::new() };
    if text.len() > MAX_TEXT {
        let beginning: String = text.chars().take(40).collect();
        let problem = format!("is the beginning of {} bytes", text.len());
        faults.push(fault(&beginning, problem, format!("at most {MAX_TEXT} bytes")));
        return Vec::new();
    }
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    if names.len() > MOST_HOSTS {
        let problem = format!("is the first of {} names", names.len());
        faults.push(fault(names.first().unwrap_or(&""), problem, format!("at most {MOST_HOSTS}")));
    }
    let mut seen = BTreeSet::new();
    let mut hosts = Vec::with_capacity(names.len().min(MOST_HOSTS));
    for name in names.into_iter().take(MOST_HOSTS) {
        match name.parse::<Host>() {
            Ok(host) if seen.insert(host.clone()) => hosts.push(host),
            Ok(_) => faults.push(fault(name, "stands there twice", "each name once")),
            Err(why) => faults.push(fault(name, why.to_string(), wanted(why))),
        }
    }
    hosts
}

fn wanted(why: NotAHost) -> &'static str {
    match why {
        NotAHost::TooLong => "at most 253 bytes, and at most 63 between two dots",
        NotAHost::Address => "a name that DNS leads to the gateway",
        NotAHost::Capital | NotAHost::Wildcard | NotAHost::Malformed => "hello.example.com, or *.example.com",
    }
}

fn fault(value: &str, problem: impl Into<String>, want: impl Into<String>) -> Fault {
    Fault {
        key: keys::HOSTS.name.to_owned(),
        value: value.to_owned(),
        kind: FaultKind::Invalid,
        problem: problem.into(),
        want: want.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(pairs: &[(&str, &str)]) -> Result<Exposure, Vec<String>> {
        let texts = pairs.iter().map(|(key, value)| (keys::full_key(key), (*value).to_owned())).collect();
        let mut faults = Vec::new();
        let exposure = read(&texts, &mut faults);
        if faults.is_empty() { Ok(exposure) } else { Err(faults.iter().map(Fault::to_string).collect()) }
    }

    #[test]
    fn names_are_listed_and_each_may_be_a_wildcard() {
        let exposure = read_from(&[("hosts", "hello.example.com , *.tenant.example.com")]).unwrap();
        let names: Vec<&str> = exposure.hosts.iter().map(Host::as_str).collect();
        assert_eq!(names, ["hello.example.com", "*.tenant.example.com"]);
        assert_eq!(read_from(&[]), Ok(Exposure::default()));
    }

    #[test]
    fn a_certificate_is_named_and_a_redirect_wants_one() {
        let secure = [("hosts", "a.example.com"), ("tls-secret", "a-tls"), ("https-redirect", "true")];
        let exposure = read_from(&secure).unwrap();
        assert_eq!((exposure.tls_secret.as_deref(), exposure.https_redirect), (Some("a-tls"), true));
        assert_eq!(
            read_from(&[("tls-secret", "a-tls"), ("https-redirect", "true")]),
            Err(vec![
                "ebb.dev/tls-secret: \"a-tls\" stands without ebb.dev/hosts; want both, or neither"
                    .to_owned()
            ])
        );
        assert_eq!(
            read_from(&[("hosts", "a.example.com"), ("https-redirect", "true")]),
            Err(vec![
                "ebb.dev/https-redirect: \"true\" stands without ebb.dev/tls-secret; want both, or neither"
                    .to_owned()
            ])
        );
        assert!(read_from(&[("hosts", "a.example.com"), ("https-redirect", "false")]).is_ok());
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let faults = read_from(&[
            ("hosts", "a.example.com, A.com, 10.0.0.1, a.example.com, a.*.com, , b.com:80"),
            ("tls-secret", "Not A Name"),
            ("https-redirect", "maybe"),
        ])
        .unwrap_err();
        let wanted = [
            "ebb.dev/hosts: \"A.com\" is not in lower case; want hello.example.com, or *.example.com",
            "\"10.0.0.1\" is an IP address; want a name that DNS leads to the gateway",
            "\"a.example.com\" stands there twice",
            "\"a.*.com\" has a * that is not its whole first label",
            "\"\" is not the name of a host",
            "\"b.com:80\" is not the name of a host",
            "ebb.dev/tls-secret: \"Not A Name\" is not the name of a Secret",
            "ebb.dev/https-redirect: \"maybe\" is not true or false",
        ];
        for (fault, wanted) in faults.iter().zip(wanted) {
            assert!(fault.contains(wanted), "{fault} lacks {wanted}");
        }
        assert_eq!(faults.len(), wanted.len(), "{faults:#?}");
    }

    #[test]
    fn what_is_beyond_measure_is_refused_once() {
        let many: Vec<String> = (0..65).map(|n| format!("a{n}.com")).collect();
        let faults = read_from(&[("hosts", &many.join(","))]).unwrap_err();
        assert_eq!(faults, ["ebb.dev/hosts: \"a0.com\" is the first of 65 names; want at most 64"]);
        let faults = read_from(&[("hosts", &"a".repeat(20_000))]).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
    }

    #[test]
    fn a_namespace_is_kept_to_what_can_be_read() {
        let (hosts, faults) = parse_allowed_hosts("*.tenant.example.com, tenant.example.com, *,");
        assert_eq!(hosts.len(), 2);
        assert_eq!(
            faults,
            [
                "ebb.dev/allowed-hosts: \"*\" has a * that is not its whole first label; want hello.example.com, or *.example.com"
            ]
        );
        assert_eq!(parse_allowed_hosts(""), (Vec::new(), Vec::new()), "nothing is allowed");
    }

    #[test]
    fn one_slip_costs_no_other_name() {
        assert_eq!(usable_hosts("a.com, B.com,*.c.com, "), "a.com, *.c.com");
        assert_eq!(usable_hosts("B.com"), "");
    }
}
