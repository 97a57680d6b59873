//! Annotations as people write them: nearly right.

use ebb_annotations::{ClusterDefaults, Reachability, full_key, is_route, keys, parse, parse_route};
use ebb_properties::annotations::{Texts, hold};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

/// Values that each key takes, among them the bounds.
const VALUES: [(&str, &[&str]); 52] = [
    ("class", &["kpa.autoscaling.knative.dev"]),
    ("metric", &["concurrency", "rps"]),
    ("target", &["0.01", "1", "7.5", "1e3", "0x1p4"]),
    ("target-utilization-percentage", &["1", "70", "99.9", "100"]),
    ("target-burst-capacity", &["-1", "0", "200", "1e300"]),
    ("min-scale", &["0", "1", "3", "2147483647"]),
    ("max-scale", &["0", "1", "10", "2147483647"]),
    ("initial-scale", &["0", "1", "5"]),
    ("activation-scale", &["2", "10"]),
    ("window", &["6s", "60s", "1m30s", "1h"]),
    ("panic-window-percentage", &["1", "10", "100"]),
    ("panic-threshold-percentage", &["110", "200", "1000"]),
    ("metric-aggregation-algorithm", &["linear", "weighted-exponential", "weightedExponential", ""]),
    ("scale-down-delay", &["0s", "15m", "1h"]),
    ("scale-to-zero-pod-retention-period", &["0s", "1m5.5s", "1h"]),
    ("progress-deadline", &["1s", "10m"]),
    ("scale-target", &["Deployment/hello", "StatefulSet/a.b-1"]),
    ("selector", &["app=hello"]),
    ("activator-port", &["1", "9000", "65535"]),
    ("container-concurrency", &["0", "1", "10", "1000"]),
    ("queue-depth", &["1", "100000"]),
    ("activation-deadline", &["1s", "2m", "1h"]),
    ("request-timeout", &["1s", "5m", "1h"]),
    ("response-start-timeout", &["0s", "1s", "5m"]),
    ("idle-timeout", &["0s", "30s", "5m"]),
    ("late-response", &["cut", "end"]),
    ("max-connection-age", &["0s", "1s", "24h", "2562047h"]),
    ("tunnel-idle-timeout", &["0", "1s", "10m"]),
    ("readiness-path", &["/", "/healthz?full=1"]),
    ("app-protocol", &["http1", "h2c"]),
    ("compatibility", &["none", "knative"]),
    ("startup-aware", &["true", "false"]),
    ("max-starting-pods", &["0", "1", "2147483647"]),
    ("idle-first", &["t", "F"]),
    ("target-concurrency", &["0", "0.01", "10", "1e300"]),
    ("target-rps", &["0", "0.01", "200"]),
    (
        "schedule",
        &[
            "0 8 * * MON-FRI Europe/Berlin for 10h min 5",
            "*/5 0-23/2 1,15 JAN-JUN * for 1m min 1; 30 2 * * 7 Australia/Lord_Howe for 744h min 10",
            "0 0 29 2 SUN for 24h min 2",
        ],
    ),
    ("port", &["http", "80"]),
    ("sidecar", &["ordinary", "native", "none"]),
    ("mount-token", &["true", "false"]),
    ("restart", &["true", "false"]),
    ("generation", &["0", "7", "9223372036854775807"]),
    ("split", &["v1=90, v2=10", "v1", "v1=0,v2=1000000"]),
    ("split-by", &["cookie session", "header x-user"]),
    ("split-duration", &["0s", "1s", "10m", "24h"]),
    ("rollout-paused", &["true", "false"]),
    ("rollout", &["", "anything"]),
    ("hosts", &["hello.example.com, *.tenant.example.com", "localhost"]),
    ("tls-secret", &["hello-tls"]),
    ("https-redirect", &["true", "false"]),
    ("valid-split", &["v1=90, v2=10"]),
    ("status", &["", "what is wrong"]),
];

/// Values that some parser might take for something.
const ODDITIES: [&str; 12] =
    ["", "NaN", "-Inf", "1e400", "-1", "0", "-0", "1e-400", "99999999999999999999", "0s", "-5s", "kpa"];

/// Annotations of which most are right, and few are not: those are off by a character, or have the value of
/// another key, an odd one, or anything at all.
fn any_annotations() -> impl Strategy<Value = Texts> {
    let pair = || select(&VALUES[..]).prop_flat_map(|(key, values)| (Just(key), select(values)));
    let right = pair().prop_map(|(key, value)| (full_key(key), value.to_owned()));
    let slip = (any::<Index>(), prop_oneof![Just(String::new()), "[-+0-9.,;:*/ a-zA-Z]", ".{1,3}"]);
    let wrong = prop_oneof![
        4 => (pair(), slip).prop_map(|((key, value), (at, slip))| (full_key(key), with_slip(value, at, &slip))),
        1 => (pair(), pair()).prop_map(|((key, _), (_, value))| (full_key(key), value.to_owned())),
        3 => (select(spellings()), select(&ODDITIES[..])).prop_map(|(key, value)| (key.into(), value.into())),
        1 => (select(spellings()), ".*").prop_map(|(key, value)| (key.to_owned(), value)),
        1 => ("(autoscaling.knative|ebb).dev/[a-zA-Z-]*", ".*"),
    ];
    let wrong = prop_oneof![2 => vec(wrong.clone(), 0), 1 => vec(wrong, 1..3)];
    (vec(right, 0..12), wrong).prop_map(|(right, wrong)| right.into_iter().chain(wrong).collect())
}

/// Every spelling of every key, so that the older ones are written too.
fn spellings() -> Vec<&'static str> {
    keys::KNOWN.iter().flat_map(keys::Key::spellings).collect()
}

/// The value with one of its characters replaced.
fn with_slip(value: &str, at: Index, slip: &str) -> String {
    let at = at.index(value.chars().count() + 1);
    let (before, after): (Vec<_>, Vec<_>) = value.chars().enumerate().partition(|(place, _)| *place < at);
    let text =
        |chars: Vec<(usize, char)>, skip| chars.into_iter().skip(skip).map(|(_, c)| c).collect::<String>();
    text(before, 0) + slip + &text(after, 1)
}

#[test]
fn the_values_are_right_before_a_slip() {
    let keys: Vec<_> = VALUES.iter().map(|(key, _)| full_key(key)).collect();
    assert_eq!(keys, keys::KNOWN.map(|key| key.name.to_owned()), "every key has values");
    let defaults = ClusterDefaults { allow_zero_initial_scale: true, ..ClusterDefaults::default() };
    for (key, values) in VALUES {
        for value in values {
            let mut texts = Texts::from([(full_key(key), (*value).to_owned())]);
            if key == "target-concurrency" {
                texts.insert(full_key("metric"), "rps".to_owned());
            }
            if ["tls-secret", "https-redirect"].contains(&key) {
                texts.insert(full_key("hosts"), "a.example.com".to_owned());
                texts.entry(full_key("tls-secret")).or_insert_with(|| "a-tls".to_owned());
            }
            let refused = if is_route(&texts) {
                parse_route("hello", &texts).err()
            } else {
                parse(&texts, &defaults, Reachability::Reachable).err()
            };
            assert_eq!(refused, None);
        }
    }
}

proptest! {
    // What goes wrong takes two or three certain annotations together.
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn annotations_hold_what_is_promised(annotations in any_annotations()) {
        hold(&annotations);
    }
}
