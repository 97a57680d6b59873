//! However `ebb` ends, nothing that it started is left.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use rustix::process::Signal;
use support::{Ebb, assert_ok, children, get, is_alive, until, with_environment};

const SAMPLE_APP: &str = concat!("exec ", env!("CARGO_BIN_EXE_ebb"), " sample-app");

/// `ebb run` with a pod that has a child, after its first answer.
fn running(name: &str) -> (Ebb, Vec<i32>) {
    let family = format!("sleep 1000 & {SAMPLE_APP}");
    let ebb = Ebb::start(&[
        "run",
        "--name",
        name,
        "--port",
        "0",
        "--set",
        "initial-scale=0",
        "--",
        "sh",
        "-c",
        &family,
    ]);
    assert_ok(&get(ebb.address(name), "/"));
    let mut all = children(ebb.id());
    let pods = with_environment("EBB_SERVICE", name);
    assert_eq!((all.len(), pods.len()), (2, 2), "a pod and the guardian; the pod and its child");
    all.extend(pods);
    (ebb, all)
}

fn nothing_is_left(of: &[i32], name: &str) {
    until("all processes are gone", || (!of.iter().any(|&id| is_alive(id))).then_some(()));
    assert_eq!(with_environment("EBB_SERVICE", name), [0; 0]);
}

#[test]
fn nothing_outlives_an_ebb_that_was_killed() {
    let (ebb, all) = running("killed");
    ebb.signal(Signal::KILL);
    assert!(!ebb.end().status.success());
    nothing_is_left(&all, "killed");
}

#[test]
fn ctrl_c_or_a_terminal_that_goes_drains_and_ends_well() {
    for (signal, name) in [(Signal::INT, "drains"), (Signal::HUP, "hung-up")] {
        let (ebb, all) = running(name);
        ebb.signal(signal);
        ebb.line("word of the drain", |line| line.contains("draining").then_some(()));
        let ended = ebb.end();
        assert_eq!((ended.status.code(), ended.errors.as_str()), (Some(0), ""), "{name}");
        nothing_is_left(&all, name);
    }
}

#[test]
fn ctrl_c_at_zero_pods_ends_well() {
    let ebb = Ebb::start(&[
        "run",
        "--name=resting",
        "--port=0",
        "--set=initial-scale=0",
        "--",
        "sh",
        "-c",
        SAMPLE_APP,
    ]);
    ebb.address("resting");
    let guardian = children(ebb.id());
    assert_eq!(guardian.len(), 1, "nobody but the guardian");
    ebb.signal(Signal::TERM);
    assert_eq!(ebb.end().status.code(), Some(0));
    nothing_is_left(&guardian, "resting");
}

#[test]
fn the_same_signal_twice_at_once_is_one_and_what_drains_goes_on() {
    let (ebb, all) = running("doubled");
    ebb.signal(Signal::INT);
    ebb.line("word of the drain", |line| line.contains("draining").then_some(()));
    ebb.signal(Signal::INT);
    let ended = ebb.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.errors);
    assert!(!ended.errors.contains("at once"), "{}", ended.errors);
    nothing_is_left(&all, "doubled");
}

#[test]
fn a_second_signal_of_another_kind_ends_at_once() {
    let ebb = Ebb::start(&["run", "--name=hurries", "--port=0", "--", "sh", "-c", SAMPLE_APP]);
    let address = ebb.address("hurries");
    assert_ok(&get(address, "/"));
    // Longer than any test waits.
    let request = std::thread::spawn(move || get(address, "/?ms=200000"));
    let pods = with_environment("EBB_SERVICE", "hurries");
    assert_eq!(pods.len(), 1);
    ebb.signal(Signal::INT);
    ebb.line("word of the drain", |line| line.contains("draining").then_some(()));
    ebb.signal(Signal::TERM);
    let ended = ebb.end();
    assert_eq!(ended.status.code(), Some(130));
    assert_eq!(ended.errors, "ebb: stopped at once; what was in flight is lost\n");
    nothing_is_left(&pods, "hurries");
    // Cut, or refused: it had no answer. Its thread must only have ended.
    let _ = request.join();
}
