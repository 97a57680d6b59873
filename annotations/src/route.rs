//! Routes: Services that split their requests between other Services, by `ebb.dev/split` and related
//! annotations.

use std::{collections::BTreeSet, num::NonZeroU16, time::Duration};

use ebb_core::ServiceKey;
use http::HeaderName;

use super::{
    binding,
    duration::GoDuration,
    exposure::{self, Exposure},
    fault::{Fault, FaultKind, Hint, Warning},
    hint,
    keys::{self, Key},
    reading::{Reading, Texts},
    serving::connection_limit,
    spec::Metric,
    syntax::{Syntax, Unreadable},
};

/// The most targets of one route: a split is meant to be read by people.
pub const MOST_TARGETS: usize = 32;
/// The longest split, in bytes: the most targets with the longest names.
const MAX_TEXT: usize = MOST_TARGETS * 80;
/// The largest weight: the sum of all weights stays far within 32 bits.
const MAX_WEIGHT: u32 = 1_000_000;
/// The form of a split.
const FORM: &str = "NAME=WEIGHT, NAME=WEIGHT, or one NAME alone";
/// The bounds of a rollout's duration.
const DURATIONS: (GoDuration, GoDuration) = (GoDuration::from_secs(1), GoDuration::from_secs(24 * 3600));
/// The annotations that have a meaning on a route.
const OF_ROUTES: [Key; 16] = [
    keys::SPLIT,
    keys::SPLIT_BY,
    keys::HOSTS,
    keys::TLS_SECRET,
    keys::HTTPS_REDIRECT,
    keys::SPLIT_DURATION,
    keys::ROLLOUT_PAUSED,
    keys::ROLLOUT,
    keys::MAX_CONNECTION_AGE,
    keys::TUNNEL_IDLE_TIMEOUT,
    keys::PORT,
    keys::ACTIVATOR_PORT,
    keys::GENERATION,
    keys::VALID_SPLIT,
    // Left from a Service that was scaled before; Ebb removes it.
    keys::SELECTOR,
    keys::STATUS,
];

/// How a route splits its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// The distinct targets, in the order in which they are written; at least one has a weight above 0.
    pub split: Vec<Share>,
    /// What identifies a user.
    pub by: SplitBy,
    /// The time in which a changed split is reached step by step; `None` means at once.
    pub split_duration: Option<Duration>,
    /// Whether the rollout is paused.
    pub rollout_paused: bool,
    /// The longest age of a client's connection, and of an upgraded one; `None` is off.
    pub max_connection_age: Option<Duration>,
    /// How long an upgraded connection may be idle; `None` is off.
    pub tunnel_idle_timeout: Option<Duration>,
}

impl RouteSpec {
    /// Returns the split as an annotation's value.
    pub fn split_text(&self) -> String {
        split_text(&self.split)
    }
}

/// Returns the annotation's value for `split`: `NAME=WEIGHT, NAME=WEIGHT`.
pub fn split_text(split: &[Share]) -> String {
    let shares = split.iter().map(|share| format!("{}={}", share.service, share.weight));
    shares.collect::<Vec<_>>().join(", ")
}

/// Reads what [`split_text`] wrote; returns `None` if it is not a valid split.
pub fn read_split(text: &str) -> Option<Vec<Share>> {
    let mut faults = Vec::new();
    // No route has the empty name.
    let split = split("", text, &mut faults);
    faults.is_empty().then_some(split)
}

/// A target's share of a route's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The target, a service in the route's namespace.
    pub service: String,
    /// Its weight, relative to the sum of all weights.
    pub weight: u32,
}

/// How a route assigns requests to targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SplitBy {
    /// Each request by itself.
    #[default]
    Request,
    /// Requests with the same value of this cookie go to the same target. Cookie names are case-sensitive.
    Cookie(String),
    /// Requests with the same value of this header go to the same target.
    Header(HeaderName),
}

impl SplitBy {
    /// Returns the annotation's value; `None` if there is none.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Request => None,
            Self::Cookie(name) => Some(format!("cookie {name}")),
            Self::Header(name) => Some(format!("header {name}")),
        }
    }
}

/// The parsed annotations of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedRoute {
    /// How it splits its requests.
    pub spec: RouteSpec,
    /// The Service's port that Ebb takes over, by name or number; `None` means its first HTTP port.
    pub port: Option<String>,
    /// The port on which activators serve the route.
    pub activator_port: Option<NonZeroU16>,
    /// How the gateway exposes it.
    pub exposure: Exposure,
    /// Annotations that have no effect.
    pub warnings: Vec<Warning>,
}

/// Returns whether a Service with these annotations is a route.
pub fn is_route(annotations: &Texts) -> bool {
    annotations.contains_key(keys::SPLIT.name)
}

/// Parses the annotations of a route named `name`.
///
/// # Errors
///
/// Returns all faults at once, ordered by key.
pub fn parse_route(name: &str, annotations: &Texts) -> Result<ParsedRoute, Vec<Fault>> {
    let mut faults = Vec::new();
    let text = annotations.get(keys::SPLIT.name).map_or("", String::as_str);
    let split = split(name, text, &mut faults);
    let by: Option<Reading<'_, SplitBy>> = Reading::find(annotations, &keys::SPLIT_BY);
    faults.extend(by.as_ref().and_then(|by| {
        let want = "cookie NAME, or header NAME";
        by.value.as_ref().err().map(|why| by.unreadable(*why, want))
    }));
    let target: Option<Reading<'_, String>> = Reading::find(annotations, &keys::SCALE_TARGET);
    faults.extend(target.map(|target| {
        let problem = format!("stands beside {}, which makes this Service a route", keys::SPLIT.name);
        target.fault(FaultKind::Other, problem, "one of the two: a route has no pods of its own")
    }));
    let activator_port: Option<Reading<'_, i32>> = Reading::find(annotations, &keys::ACTIVATOR_PORT);
    faults.extend(activator_port.as_ref().and_then(|port| port.outside(1, i32::from(u16::MAX))));
    let exposure = exposure::read(annotations, &mut faults);
    // Its value is read by those who confirm it.
    binding::generation(annotations, &mut faults);
    let paused: Option<Reading<'_, bool>> = Reading::find(annotations, &keys::ROLLOUT_PAUSED);
    faults.extend(paused.as_ref().and_then(Reading::no_value));
    let spec = RouteSpec {
        split,
        split_duration: split_duration(annotations, &mut faults),
        rollout_paused: paused.and_then(|paused| paused.value.ok()).unwrap_or_default(),
        by: by.and_then(|by| by.value.ok()).unwrap_or_default(),
        max_connection_age: connection_limit(annotations, &keys::MAX_CONNECTION_AGE, &mut faults),
        tunnel_idle_timeout: connection_limit(annotations, &keys::TUNNEL_IDLE_TIMEOUT, &mut faults),
    };
    if !faults.is_empty() {
        faults.sort_by(|a, b| a.key.cmp(&b.key));
        return Err(faults);
    }
    let port = activator_port.and_then(|port| u16::try_from(port.value.ok()?).ok());
    Ok(ParsedRoute {
        spec,
        port: annotations.get(keys::PORT.name).cloned(),
        activator_port: port.and_then(NonZeroU16::new),
        exposure,
        warnings: warnings(annotations),
    })
}

/// Reads the rollout's duration; `None` means at once.
fn split_duration(annotations: &Texts, faults: &mut Vec<Fault>) -> Option<Duration> {
    let reading: Reading<'_, GoDuration> = Reading::find(annotations, &keys::SPLIT_DURATION)?;
    let (shortest, longest) = DURATIONS;
    let fault =
        reading.neither_zero_nor_from(shortest).or_else(|| reading.outside(GoDuration::ZERO, longest));
    faults.extend(fault);
    reading.value.ok().map(GoDuration::to_std).filter(|duration| !duration.is_zero())
}

/// Reads the split, and adds all faults to `faults`; the value of each is the faulty part.
fn split(name: &str, text: &str, faults: &mut Vec<Fault>) -> Vec<Share> {
    if text.len() > MAX_TEXT {
        let beginning: String = text.chars().take(40).collect();
        let problem = format!("is the beginning of {} bytes", text.len());
        faults.push(fault(&beginning, problem, format!("at most {MAX_TEXT} bytes")));
        return Vec::new();
    }
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if parts.len() > MOST_TARGETS {
        let problem = format!("names {} services", parts.len());
        faults.push(fault(text, problem, format!("at most {MOST_TARGETS}")));
    }
    let before = faults.len();
    let alone = parts.len() == 1;
    let shares: Vec<Share> = parts.into_iter().filter_map(|part| share(part, alone, faults)).collect();
    let mut seen = BTreeSet::new();
    for share in &shares {
        if share.service == name {
            faults.push(fault(&share.service, "is the route itself", "a Service that Ebb scales"));
        }
        if !seen.insert(&share.service) {
            faults.push(fault(&share.service, "stands there twice", "each service once"));
        }
    }
    if faults.len() == before && shares.iter().all(|share| share.weight == 0) {
        faults.push(fault(text, "gives no service anything", "a weight above 0"));
    }
    shares
}

fn share(part: &str, alone: bool, faults: &mut Vec<Fault>) -> Option<Share> {
    let (service, weight) = match part.split_once('=') {
        Some((service, weight)) => (service.trim_end(), Some(weight.trim_start())),
        None => (part, None),
    };
    let count = faults.len();
    if !ServiceKey::is_valid_name(service) {
        faults.push(fault(part, "has no name of a service", FORM));
    }
    let weight = match weight {
        Some(text) => parse_weight(text).unwrap_or_else(|| {
            let want = format!("an integer from 0 to {MAX_WEIGHT} after the =");
            faults.push(fault(part, "has no weight", want));
            0
        }),
        None if alone => 1,
        None => {
            faults.push(fault(part, "has no weight", FORM));
            0
        }
    };
    (faults.len() == count).then(|| Share { service: service.to_owned(), weight })
}

/// Only digits: neither a sign nor a fraction is allowed.
fn parse_weight(text: &str) -> Option<u32> {
    let are_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|weight| are_digits && *weight <= MAX_WEIGHT)
}

fn fault(value: &str, problem: impl Into<String>, want: impl Into<String>) -> Fault {
    Fault {
        key: keys::SPLIT.name.to_owned(),
        value: value.to_owned(),
        kind: FaultKind::Invalid,
        problem: problem.into(),
        want: want.into(),
    }
}

impl Syntax for SplitBy {
    const NOUN: &'static str = "a way to divide requests";

    fn read(text: &str) -> Result<Self, Unreadable> {
        let mut words = text.split_whitespace();
        let (kind, name, more) = (words.next(), words.next(), words.next());
        match (kind, name, more) {
            (Some("cookie"), Some(name), None) if name.parse::<HeaderName>().is_ok() => {
                // Both are HTTP tokens; a cookie's name keeps its case.
                Ok(Self::Cookie(name.to_owned()))
            }
            (Some("header"), Some(name), None) => {
                name.parse().map(Self::Header).map_err(|_| Unreadable::Malformed)
            }
            _ => Err(Unreadable::Malformed),
        }
    }
}

fn warnings(annotations: &Texts) -> Vec<Warning> {
    let has_effect = |key: &String| OF_ROUTES.iter().flat_map(Key::spellings).any(|known| known == key);
    annotations
        .keys()
        .filter(|key| !has_effect(key))
        .filter_map(|key| {
            let hint = if keys::is_unknown(key) {
                hint::hint(key, Metric::Concurrency)
            } else if keys::is_known(key) {
                Some(Hint::OfItsServices)
            } else {
                return None;
            };
            Some(Warning { key: key.clone(), hint })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_generation;

    fn texts(pairs: &[(&str, &str)]) -> Texts {
        pairs.iter().map(|(key, value)| (keys::full_key(key), (*value).to_owned())).collect()
    }

    fn parsed(pairs: &[(&str, &str)]) -> Result<ParsedRoute, Vec<String>> {
        parse_route("hello", &texts(pairs)).map_err(|all| all.iter().map(Fault::to_string).collect())
    }

    fn shares(text: &str) -> Vec<(String, u32)> {
        let route = parsed(&[("split", text)]).unwrap();
        route.spec.split.into_iter().map(|share| (share.service, share.weight)).collect()
    }

    #[test]
    fn a_split_names_services_and_weights() {
        let pair = |name: &str, weight| (name.to_owned(), weight);
        assert_eq!(shares("v1=90, v2=10"), [pair("v1", 90), pair("v2", 10)]);
        assert_eq!(shares(" v1 = 0,v2= 1 "), [pair("v1", 0), pair("v2", 1)]);
        assert_eq!(shares("v1"), [pair("v1", 1)]);
        assert_eq!(shares("v1=1000000"), [pair("v1", 1_000_000)]);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let faults = parsed(&[
            ("split", "v1=90, v1=10, V2=3, v3, hello=1, v4=-1, v5=1.5, v6=1000001, =2"),
            ("split-by", "colour blue"),
            ("scale-target", "Deployment/hello"),
            ("max-connection-age", "5"),
        ])
        .unwrap_err();
        let wanted = [
            "max-connection-age: \"5\"",
            "scale-target: \"Deployment/hello\" stands beside",
            "\"V2=3\" has no name",
            "\"v3\" has no weight; want NAME=WEIGHT",
            "\"v4=-1\" has no weight; want an integer from 0",
            "\"v5=1.5\" has no weight",
            "\"v6=1000001\" has no weight",
            "\"=2\" has no name",
            "\"v1\" stands there twice",
            "\"hello\" is the route itself",
            "split-by: \"colour blue\" is not a way to divide requests; want cookie NAME, or header NAME",
        ];
        for (fault, wanted) in faults.iter().zip(wanted) {
            assert!(fault.contains(wanted), "{fault} lacks {wanted}");
        }
        assert_eq!(faults.len(), wanted.len(), "{faults:#?}");
    }

    #[test]
    fn what_gives_nobody_anything_and_what_is_beyond_measure_is_refused() {
        let thousand: Vec<String> = (0..1000).map(|n| format!("v{n}=1")).collect();
        let many: Vec<String> = (0..33).map(|n| format!("v{n}=1")).collect();
        for (text, wanted) in [
            ("v1=0, v2=0", "gives no service anything; want a weight above 0"),
            ("", "has no name of a service"),
            (&*thousand.join(","), "is the beginning of 6889 bytes; want at most 2560 bytes"),
            (&*many.join(","), "names 33 services; want at most 32"),
        ] {
            let faults = parsed(&[("split", text)]).unwrap_err();
            assert!(faults[0].contains(wanted), "{faults:?}");
            assert_eq!(faults.len(), 1, "{faults:?}");
        }
    }

    #[test]
    fn an_owner_numbers_its_changes() {
        let read =
            |text: &str| read_generation(&[(keys::GENERATION.name.to_owned(), text.to_owned())].into());
        for (text, number) in
            [("0", Some(0)), ("7", Some(7)), ("9223372036854775807", Some(i64::MAX)), ("+7", Some(7))]
        {
            assert_eq!(read(text), number);
            assert!(parsed(&[("split", "v1"), ("generation", text)]).is_ok(), "{text}");
        }
        for (text, problem) in [
            ("-1", "\"-1\" is too small"),
            ("9223372036854775808", "\"9223372036854775808\" does not fit"),
            ("", "\"\" is not an integer"),
            ("v7", "\"v7\" is not an integer"),
        ] {
            assert_eq!(read(text), None);
            let fault = format!("ebb.dev/generation: {problem}; want an integer of at least 0");
            assert_eq!(parsed(&[("split", "v1"), ("generation", text)]), Err(vec![fault]));
        }
        assert_eq!(read_generation(&Texts::new()), None);
    }

    #[test]
    fn a_user_is_kept_by_a_cookie_or_by_a_header() {
        let by = |text| parsed(&[("split", "v1"), ("split-by", text)]).map(|route| route.spec.by);
        assert_eq!(by("cookie Session"), Ok(SplitBy::Cookie("Session".to_owned())));
        assert_eq!(by("header X-User"), Ok(SplitBy::Header(HeaderName::from_static("x-user"))));
        for text in ["", "cookie", "header a b", "header a:b", "cookie a=b", "Cookie a"] {
            assert!(by(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_split_may_take_its_time() {
        let duration = |text| {
            parsed(&[("split", "v1"), ("split-duration", text)]).map(|route| route.spec.split_duration)
        };
        assert_eq!(duration("0s"), Ok(None));
        assert_eq!(duration("10m"), Ok(Some(Duration::from_secs(600))));
        assert_eq!(duration("24h"), Ok(Some(Duration::from_secs(86_400))));
        for (text, wanted) in [
            ("0.5s", "\"0.5s\" is too small; want a duration of at least 1s, or 0s for off"),
            ("-1s", "\"-1s\" is too small; want a duration of at least 1s, or 0s for off"),
            ("25h", "\"25h\" is too large; want a duration from 0s to 24h"),
            ("10", "\"10\" is not a duration; want a duration of at least 1s, or 0s for off"),
        ] {
            assert_eq!(duration(text), Err(vec![format!("ebb.dev/split-duration: {wanted}")]));
        }
        let paused = |text| parsed(&[("split", "v1"), ("rollout-paused", text)]);
        assert!(paused("true").unwrap().spec.rollout_paused && !paused("false").unwrap().spec.rollout_paused);
        assert_eq!(
            paused("yes"),
            Err(vec!["ebb.dev/rollout-paused: \"yes\" is not true or false; want true or false".to_owned()])
        );
    }

    #[test]
    fn a_split_that_is_written_is_read_as_it_was() {
        for text in ["v1=90, v2=10", "v1=1", "v2=0, v1=7"] {
            assert_eq!(split_text(&read_split(text).unwrap()), text);
        }
        for text in ["", "v1=0", "v1=1, v1=2", "v1=x", "V1=1"] {
            assert_eq!(read_split(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_means_nothing_on_a_route_is_warned_of() {
        let route =
            parsed(&[("split", "v1"), ("target", "10"), ("splt-by", "x"), ("tls.example/x", "y")]).unwrap();
        let said: Vec<String> = route.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "autoscaling.knative.dev/splt-by: unknown, has no effect; did you mean ebb.dev/split-by?",
                "autoscaling.knative.dev/target: has no effect on a route; it belongs on the services of its split",
            ]
        );
    }
}
