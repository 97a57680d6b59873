use super::{
    super::fixtures::{data, faults},
    *,
};

#[test]
fn without_keys_everything_has_its_default() {
    assert_eq!(
        Defaults::read(&data(&[("_example", "revision-timeout-seconds: x")])),
        Ok(Defaults::default())
    );
}

#[test]
fn each_key_sets_its_field() {
    let max = ("max-revision-timeout-seconds", "900");
    let read = |key: &str, value: &str| Defaults::read(&data(&[max, (key, value)])).unwrap();
    let default = Defaults { max_timeout_seconds: 900, ..Defaults::default() };
    let quantities = |resource: &str, text: &str| BTreeMap::from([(resource.to_owned(), text.to_owned())]);
    for (key, value, want) in [
        (
            TIMEOUT,
            "700",
            Defaults { timeout_seconds: 700, response_start_timeout_seconds: 700, ..default.clone() },
        ),
        (RESPONSE_START_TIMEOUT, "0", Defaults { response_start_timeout_seconds: 0, ..default.clone() }),
        (IDLE_TIMEOUT, "300", Defaults { idle_timeout_seconds: 300, ..default.clone() }),
        (CONCURRENCY, "1000", Defaults { container_concurrency: 1000, ..default.clone() }),
        (MAX_CONCURRENCY, "1", Defaults { max_container_concurrency: 1, ..default.clone() }),
        (
            ALLOW_CONCURRENCY_ZERO,
            "false",
            Defaults { allow_container_concurrency_zero: false, ..default.clone() },
        ),
        (
            CONTAINER_NAME,
            "{{.Name}}",
            Defaults { container_name: Template::text("{{.Name}}"), ..default.clone() },
        ),
        (
            INIT_CONTAINER_NAME,
            "init-{{.Name}}\n",
            Defaults { init_container_name: Template::text("init-{{.Name}}"), ..default.clone() },
        ),
        (SERVICE_LINKS, "True", Defaults { enable_service_links: Some(true), ..default.clone() }),
        (SERVICE_LINKS, "default", Defaults { enable_service_links: None, ..default.clone() }),
        (SERVICE_LINKS, "", default.clone()),
        ("revision-cpu-request", "400m", Defaults { requests: quantities("cpu", "400m"), ..default.clone() }),
        (
            "revision-memory-request",
            "1Gi",
            Defaults { requests: quantities("memory", "1Gi"), ..default.clone() },
        ),
        (
            "revision-ephemeral-storage-request",
            "5M",
            Defaults { requests: quantities("ephemeral-storage", "5M"), ..default.clone() },
        ),
        ("revision-cpu-limit", "2", Defaults { limits: quantities("cpu", "2"), ..default.clone() }),
        ("revision-memory-limit", "2G", Defaults { limits: quantities("memory", "2G"), ..default.clone() }),
        (
            "revision-ephemeral-storage-limit",
            "1e3",
            Defaults { limits: quantities("ephemeral-storage", "1e3"), ..default.clone() },
        ),
    ] {
        assert_eq!(read(key, value), want, "{key}: {value:?}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (key, value, text) in [
        (TIMEOUT, "5m", r#""5m" is not an integer; want an integer from 1 to 2147483647"#),
        (TIMEOUT, "0", r#""0" is out of range; want an integer from 1 to 2147483647"#),
        (MAX_TIMEOUT, "", r#""" is not an integer; want an integer from 1 to 2147483647"#),
        (RESPONSE_START_TIMEOUT, "-1", r#""-1" is out of range; want an integer from 0 to 2147483647"#),
        (IDLE_TIMEOUT, "1.5", r#""1.5" is not an integer; want an integer from 0 to 2147483647"#),
        (CONCURRENCY, "-1", r#""-1" is out of range; want an integer from 0 to 2147483647"#),
        (MAX_CONCURRENCY, "0", r#""0" is out of range; want an integer from 1 to 2147483647"#),
        (ALLOW_CONCURRENCY_ZERO, "no", r#""no" is not a boolean; want true or false"#),
        (
            CONTAINER_NAME,
            "App",
            r#""App" makes "App", which is not valid; want the template of a container's name, as user-container or {{.Name}}"#,
        ),
        (
            INIT_CONTAINER_NAME,
            "{{.Tag}}",
            r#""{{.Tag}}" refers to .Tag, which does not exist here; want the template of a container's name, as user-container or {{.Name}}"#,
        ),
        (SERVICE_LINKS, "ture", r#""ture" is not supported; want true, false or default"#),
        ("revision-cpu-request", "much", r#""much" is not a quantity; want a quantity as 400m or 100M"#),
        ("revision-memory-limit", "-1", r#""-1" is not a quantity; want a quantity as 400m or 100M"#),
    ] {
        assert_eq!(faults(Defaults::read(&data(&[(key, value)]))), [format!("{key}: {text}")]);
    }
}

#[test]
fn contradictions_are_said_as_the_reference_does() {
    for (pairs, text) in [
        (
            &[(TIMEOUT, "601")][..],
            "revision-timeout-seconds (601) cannot be greater than max-revision-timeout-seconds (600)",
        ),
        (
            &[(RESPONSE_START_TIMEOUT, "301")],
            "revision-response-start-timeout-seconds (301) cannot be greater than revision-timeout-seconds (300)",
        ),
        (
            &[(TIMEOUT, "100"), (IDLE_TIMEOUT, "101")],
            "revision-idle-timeout-seconds (101) cannot be greater than revision-timeout-seconds (100)",
        ),
        (&[(CONCURRENCY, "1001")], "expected 0 <= 1001 <= 1000: container-concurrency"),
    ] {
        assert_eq!(faults(Defaults::read(&data(pairs))), [text]);
    }
}

#[test]
fn all_faults_are_said_at_once_and_long_values_are_shortened() {
    let long = "x".repeat(1_000_000);
    let read = Defaults::read(&data(&[(TIMEOUT, "x"), (SERVICE_LINKS, &long), ("revision-cpu-limit", "y")]));
    let faults = read.unwrap_err();
    assert_eq!(
        faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>(),
        [TIMEOUT, "revision-cpu-limit", SERVICE_LINKS]
    );
    assert!(faults.iter().all(|fault| fault.to_string().len() < 300), "{faults:?}");
    assert!(faults[0].to_string().starts_with("config-defaults: revision-timeout-seconds: \"x\" is"));
}
