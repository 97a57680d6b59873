use super::*;
use crate::fixtures::{refusal, spec};

#[test]
fn ebb_does_better_than_the_reference_unless_told_not_to() {
    let stock = spec(&[]);
    assert_eq!((stock.rules, stock.startup_aware, stock.idle_first), (Rules::Mended, true, true));
    assert_eq!(stock.max_starting_pods, None);
}

#[test]
fn compatibility_names_whose_rules_hold() {
    for (text, want) in [("none", Rules::Mended), ("knative", Rules::Reference)] {
        assert_eq!(spec(&[("compatibility", text)]).rules, want, "{text}");
    }
}

#[test]
fn the_reference_does_not_know_of_starting_pods_unless_told() {
    for (pairs, want) in [
        (&[("compatibility", "knative")][..], false),
        (&[("compatibility", "knative"), ("startup-aware", "true")], true),
        (&[("compatibility", "none"), ("startup-aware", "false")], false),
        (&[("startup-aware", "t")], true),
    ] {
        assert_eq!(spec(pairs).startup_aware, want, "{pairs:?}");
    }
}

#[test]
fn who_goes_first_is_no_question_of_compatibility() {
    for (pairs, want) in [
        (&[("compatibility", "knative")][..], true),
        (&[("compatibility", "knative"), ("idle-first", "0")], false),
        (&[("idle-first", "false")], false),
        (&[("idle-first", "True")], true),
    ] {
        assert_eq!(spec(pairs).idle_first, want, "{pairs:?}");
    }
}

#[test]
fn starting_pods_are_bounded_from_one_upwards() {
    for (text, want) in [("0", 0), ("1", 1), ("2147483647", 2_147_483_647)] {
        assert_eq!(spec(&[("max-starting-pods", text)]).max_starting_pods, NonZeroU32::new(want), "{text}");
    }
}

#[test]
fn a_refusal_names_the_key_the_value_and_what_is_allowed() {
    for (key, value, want) in [
        (
            "compatibility",
            "Knative",
            r#"ebb.dev/compatibility: "Knative" is not a known compatibility; want none or knative"#,
        ),
        (
            "compatibility",
            "",
            r#"ebb.dev/compatibility: "" is not a known compatibility; want none or knative"#,
        ),
        ("startup-aware", "yes", r#"ebb.dev/startup-aware: "yes" is not true or false; want true or false"#),
        ("idle-first", "2", r#"ebb.dev/idle-first: "2" is not true or false; want true or false"#),
        (
            "max-starting-pods",
            "-1",
            r#"ebb.dev/max-starting-pods: "-1" is too small; want an integer from 0 to 2147483647"#,
        ),
        (
            "max-starting-pods",
            "2147483648",
            r#"ebb.dev/max-starting-pods: "2147483648" does not fit; want an integer from 0 to 2147483647"#,
        ),
        (
            "max-starting-pods",
            "1.5",
            r#"ebb.dev/max-starting-pods: "1.5" is not an integer; want an integer from 0 to 2147483647"#,
        ),
    ] {
        assert_eq!(refusal(&[(key, value)]), want);
    }
}
