use super::*;
use crate::compat;

fn map(pairs: &[(&str, &str)]) -> Texts {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn an_empty_map_means_the_defaults() {
    assert_eq!(ClusterDefaults::from_map(&Texts::new()), Ok(ClusterDefaults::default()));
}

#[test]
fn a_share_is_written_as_a_fraction_or_in_percent() {
    for (text, want) in [("0.5", 0.5), ("50", 0.5), ("1", 1.0), ("100", 1.0)] {
        let defaults = ClusterDefaults::from_map(&map(&[(UTILIZATION.name, text)])).unwrap();
        assert_eq!(defaults.utilization, want, "{text}");
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let faults = ClusterDefaults::from_map(&map(&[
        ("stable-window", "1s"),
        ("max-scale-up-rate", "1"),
        ("min-scale", "3"),
        ("max-scale", "2"),
    ]));
    let texts: Vec<_> = faults.unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            r#"max-scale-up-rate: "1" is too small; want a number above 1"#,
            r#"stable-window: "1s" is too small; want a duration from 6s to 1h"#,
            r#"min-scale: "3" is more than the max-scale 2; want at most 2"#,
        ]
    );
}

#[test]
fn what_the_reference_forgets_to_check_is_refused() {
    for (key, value) in [
        (UTILIZATION, "NaN"),
        (TOTAL, "Inf"),
        (TARGET_BURST_CAPACITY, "NaN"),
        (MAX_SCALE_DOWN_RATE, "Inf"),
        (PANIC_THRESHOLD, "0"),
        (SCALE_DOWN_DELAY, "2h"),
        (POD_RETENTION, "10h"),
        (CLASS, "hpa.autoscaling.knative.dev"),
    ] {
        let map = map(&[(key.name, value)]);
        assert!(compat::defaults(&map).is_ok(), "{}={value}", key.name);
        let faults = ClusterDefaults::from_map(&map).unwrap_err();
        assert_eq!(faults.iter().map(|fault| &*fault.key).collect::<Vec<_>>(), [key.name], "{value}");
    }
    let contradiction = map(&[("initial-scale", "5"), ("max-scale", "4")]);
    assert!(compat::defaults(&contradiction).is_ok() && ClusterDefaults::from_map(&contradiction).is_err());
}

#[test]
fn each_known_key_is_read() {
    for key in ClusterDefaults::KEYS {
        let faults = ClusterDefaults::from_map(&map(&[(key, "some")])).unwrap_err();
        assert!(faults.iter().any(|fault| fault.key == key), "{key}: {faults:?}");
    }
}
