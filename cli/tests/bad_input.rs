//! What cannot be run is refused in a line, and nothing is started.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use support::{Ebb, Ended, ends};

/// A file of this test.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

/// It ended with an error of `lines` lines that hold all of `parts`.
#[track_caller]
fn assert_refused(ended: &Ended, lines: usize, parts: &[&str]) {
    let Ended { status, errors } = ended;
    assert_eq!(status.code(), Some(1), "{errors}");
    assert_eq!(errors.lines().count(), lines, "{errors}");
    for part in parts {
        assert!(errors.contains(part), "{part:?} in {errors:?}");
    }
    for alien in ["Error", "panicked", "Os {", "RUST_BACKTRACE"] {
        assert!(!errors.contains(alien), "{alien:?} in {errors:?}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = ends(&["run", "--port", &port, "--", "true"]);
    assert_refused(&ended, 1, &[&format!("cannot listen on 127.0.0.1:{port}"), "in use", "service true"]);
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let cases = [
        ("no-such-program", "\"no-such-program\" not found in PATH"),
        ("./no-such-program", "it does not exist or may not be executed"),
        ("echo hello", "a program and its arguments are words of their own"),
    ];
    for (program, why) in cases {
        assert_refused(&ends(&["run", "--name=x", "--port=0", "--", program]), 1, &[program, why]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = "/no/such/file.yaml";
    let parts = [missing, "No such file"];
    assert_refused(&ends(&["up", "-f", missing]), 1, &parts);
    assert_refused(&ends(&["run", "--port=0", "-f", missing, "--", "true"]), 1, &parts);
}

#[test]
fn a_file_that_is_no_yaml_is_named_with_the_place() {
    let broken = file("broken.yaml", "services:\n  web: [\n");
    let path = broken.to_str().unwrap();
    assert_refused(&ends(&["up", "-f", path]), 1, &[path, "line"]);
    assert_refused(&ends(&["run", "--port=0", "-f", path, "--", "true"]), 1, &[path, "line"]);
}

#[test]
fn a_manifest_without_a_service_is_refused() {
    let other = file("deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n");
    let ended = ends(&["run", "--port=0", "-f", other.to_str().unwrap(), "--", "true"]);
    assert_refused(&ended, 1, &["no object with `apiVersion: v1` and `kind: Service`"]);
}

#[test]
fn a_manifest_of_knatives_is_refused_with_what_to_do() {
    let text = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: x}\n";
    let theirs = file("knative.yaml", text);
    let ended = ends(&["run", "--port=0", "-f", theirs.to_str().unwrap(), "--", "true"]);
    assert_refused(
        &ended,
        1,
        &[
            "no object with `apiVersion: v1`",
            "this one is Knative's, which `ebb up -f FILE` runs",
            "docs/migration.md",
        ],
    );
}

#[test]
fn a_key_that_stands_twice_is_named_with_its_place() {
    let twice =
        file("twice.yaml", "services:\n  web: {port: 1, command: [x]}\n  web: {port: 2, command: [x]}\n");
    let ended = ends(&["up", "-f", twice.to_str().unwrap()]);
    assert_refused(&ended, 1, &[twice.to_str().unwrap(), "line 3", "the key web stands here a second time"]);
}

#[test]
fn a_command_without_its_dashes_is_refused_with_the_line_that_was_meant() {
    let ended = ends(&["run", "--port=0", "true", "now"]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.errors);
    assert!(ended.errors.contains("`--`: ebb run --port=0 -- true now\n"), "{}", ended.errors);
}

#[test]
fn a_command_that_ends_at_once_again_and_again_is_given_up() {
    let ebb = Ebb::start(&["run", "--name=brief", "--port=0", "--", "true"]);
    ebb.line("word on what is wrong", |line| {
        line.contains("brief: the command exited repeatedly").then_some(())
    });
    let ended = ebb.end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.errors);
    let last = ended.errors.lines().last();
    assert_eq!(last, Some("ebb: gave up: the command was never ready, and no request is held for it"));
}

#[test]
fn every_bad_annotation_is_told_with_its_value_and_what_is_allowed() {
    let ended = ends(&["run", "--port=0", "--set=target=banana", "--set=window=1s", "--", "true"]);
    let parts = [
        "autoscaling.knative.dev/target: \"banana\"",
        "autoscaling.knative.dev/window: \"1s\"",
        "; want ",
        "0.01",
        "6s",
    ];
    assert_refused(&ended, 2, &parts);
    assert_eq!(ended.errors.matches("; want ").count(), 2);
}

#[test]
fn the_faults_of_all_services_are_told_at_once() {
    let text = "services:\n  a: {port: 1, command: [x], annotations: {target: \"0\"}}\n  \
                b: {port: 2, command: [x], annotations: {min-scale: \"-1\"}}\n";
    let path = file("two-faults.yaml", text);
    let ended = ends(&["up", "-f", path.to_str().unwrap()]);
    assert_refused(&ended, 2, &["service a: ", "service b: ", "target: \"0\"", "min-scale: \"-1\""]);
}

#[test]
fn a_name_that_no_service_can_have_is_refused() {
    assert_refused(&ends(&["run", "--name=Not_A_Name", "--port=0", "--", "true"]), 1, &["Not_A_Name", "a-z"]);
}

#[test]
fn an_unknown_key_is_warned_of_with_the_nearest_and_the_service_runs() {
    let app = env!("CARGO_BIN_EXE_ebb");
    let ebb = Ebb::start(&["run", "--name=slips", "--port=0", "--set=targt=5", "--", app, "sample-app"]);
    ebb.address("slips");
    ebb.signal(Signal::INT);
    let ended = ebb.end();
    assert_eq!(ended.status.code(), Some(0));
    let warning = "ebb: slips: warning: autoscaling.knative.dev/targt: unknown, has no effect; \
                   did you mean autoscaling.knative.dev/target?\n";
    assert_eq!(ended.errors, warning);
}

#[test]
fn a_route_that_leads_nowhere_is_refused_with_all_that_is_wrong() {
    let text = "services:\n  hello: {port: 8080, annotations: {split: \"v1=1, v2=x, hello=1\"}}\n  \
                other: {port: 8081, annotations: {split: \"nobody\"}}\n  v1: {port: 8082}\n";
    let path = file("nowhere.yaml", text);
    let parts = [
        "\"v2=x\" has no weight",
        "\"hello\" is the route itself",
        "sends requests to nobody, which is not there",
        "service \"v1\": has no command",
    ];
    assert_refused(&ends(&["up", "-f", path.to_str().unwrap()]), 4, &parts);
}
