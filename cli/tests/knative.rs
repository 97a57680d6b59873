//! Services of Knative Serving on one machine.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{
    env, fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use support::{Ebb, assert_ok, ends, free_ports, get, get_from, is_alive, until};

const EBB: &str = env!("CARGO_BIN_EXE_ebb");

/// A new folder of this test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // It may be there from the last run.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("service.yaml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A Service whose only revision is `name`-`version`, with further fields of its container and its spec.
fn service(name: &str, version: &str, container: &str, spec: &str) -> String {
    format!(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  template:\n    \
         metadata: {{name: {name}-{version}, annotations: {{autoscaling.knative.dev/initial-scale: \"0\"}}}}\n    \
         spec:\n      containers:\n      - image: {name}\n{container}{spec}---\n"
    )
}

/// The fields of a container that runs the sample app.
fn sample_app() -> String {
    format!("        command: [\"{EBB}\"]\n        args: [sample-app]\n")
}

fn end_well(ebb: Ebb) {
    ebb.signal(Signal::INT);
    let ended = ebb.end();
    assert_eq!((ended.status.code(), ended.errors.as_str()), (Some(0), ""));
}

#[test]
fn a_service_runs_its_command_and_is_reached_by_its_port_and_its_hosts() {
    let [gateway, port] = free_ports();
    let tag = "  traffic: [{latestRevision: true, percent: 100, tag: new}]\n";
    let path = file(&folder("knative-command"), &service("hello", "a", &sample_app(), tag));
    let gateway_text = gateway.to_string();
    let arguments = ["up", "-f", &path, "--gateway", &gateway_text, "--port", &port.to_string()];
    let ebb = Ebb::start(&arguments);
    let (address, described) = ebb.line("line of the service", |line| {
        let (address, described) = line.split_once("hello: http://")?.1.split_once(" → ")?;
        Some((address.parse::<SocketAddr>().unwrap(), described.to_owned()))
    });
    assert_eq!(address.port(), port);
    let hosts = ["hello.default.127.0.0.1.sslip.io", "new-hello.default.127.0.0.1.sslip.io"];
    assert!(described.ends_with(&format!("hosts {}", hosts.join(", "))), "{described}");
    assert_ok(&get(address, "/"));
    let gateway = SocketAddr::from(([127, 0, 0, 1], gateway));
    for host in hosts {
        let answer = get_from(gateway, host, "/");
        assert_ok(&answer);
        assert!(answer.contains("sample-pod: hello-1"), "{answer}");
    }
    end_well(ebb);
}

#[test]
fn traffic_is_divided_between_the_times_that_a_service_is_given() {
    let [port] = free_ports();
    let traffic =
        "  traffic:\n  - {revisionName: hello-a, percent: 75}\n  - {latestRevision: true, percent: 25}\n";
    let text = service("hello", "a", &sample_app(), "") + &service("hello", "b", &sample_app(), traffic);
    let path = file(&folder("knative-traffic"), &text);
    let ebb = Ebb::start(&["up", "-f", &path, "--port", &port.to_string()]);
    let described = ebb.line("line of the route", |line| {
        Some(line.split_once("hello: http://")?.1.split_once(" → ")?.1.to_owned())
    });
    assert_eq!(described, "hello-a 75 %, hello-b 25 %");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let answers: Vec<String> = (0..8).map(|_| get(address, "/")).collect();
    let by =
        |name: &str| answers.iter().filter(|answer| answer.contains(&format!("sample-pod: {name}-"))).count();
    assert_eq!((by("hello-a"), by("hello-b")), (6, 2), "{answers:#?}");
    end_well(ebb);
}

/// Puts a program called podman into `folder`, which runs the sample app as an engine does: in a session of its own, so
/// that nothing but `kill` ends it if the program is killed. Returns a `PATH` in which it comes first.
fn engine(folder: &Path) -> String {
    let program = folder.join("podman");
    let script = format!(
        r#"#!/bin/sh
here=$(dirname "$0")
case $1 in
run)
  echo "$@" >>"$here/runs"
  shift
  while :; do
    case $1 in
    --name) name=$2; shift ;;
    --env) export "$2"; shift ;;
    --network) shift ;;
    -*) ;;
    *) break ;;
    esac
    shift
  done
  setsid "{EBB}" sample-app &
  app=$!
  echo $app >"$here/app.new" && mv "$here/app.new" "$here/$name"
  trap 'kill -TERM $app' TERM
  wait $app
  wait $app ;;
kill)
  kill -KILL "$(cat "$here/$2")" ;;
esac
"#
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", folder.display(), env::var("PATH").unwrap())
}

/// The process of the only container that the engine in `folder` ran, and the arguments with which it was run.
fn container(folder: &Path) -> (i32, String) {
    let runs = fs::read_to_string(folder.join("runs")).unwrap();
    assert_eq!(runs.lines().count(), 1, "{runs}");
    let name = runs.split_once("--name ").unwrap().1.split(' ').next().unwrap();
    let process = until("the container runs", || fs::read_to_string(folder.join(name)).ok());
    (process.trim().parse().unwrap(), runs)
}

#[test]
fn an_image_runs_in_the_first_engine_and_ends_with_its_pod() {
    let folder = folder("knative-image");
    let [port] = free_ports();
    let path = file(&folder, &service("hello", "a", "        args: [\"--x=$(PORT)\"]\n", ""));
    let arguments = ["up", "-f", &path, "--port", &port.to_string()];
    let ebb = Ebb::start_with(&arguments, &[("PATH", &engine(&folder))]);
    let answer = get(ebb.address("hello"), "/");
    assert_ok(&answer);
    let (process, run) = container(&folder);
    for part in
        ["run --rm --name ebb-hello-1-", " --network host ", " --env K_REVISION=hello-a ", " hello --x="]
    {
        assert!(run.contains(part), "{part:?} in {run}");
    }
    end_well(ebb);
    assert!(!is_alive(process));
}

#[test]
fn no_container_outlives_an_ebb_that_is_killed() {
    let folder = folder("knative-killed");
    let [port] = free_ports();
    let path = file(&folder, &service("hello", "a", "", ""));
    let arguments = ["up", "-f", &path, "--port", &port.to_string()];
    let ebb = Ebb::start_with(&arguments, &[("PATH", &engine(&folder))]);
    assert_ok(&get(ebb.address("hello"), "/"));
    let (process, _) = container(&folder);
    assert!(is_alive(process));
    ebb.signal(Signal::KILL);
    until("the container is gone", || (!is_alive(process)).then_some(()));
}

#[test]
fn an_image_without_an_engine_is_refused_with_what_to_do() {
    let folder = folder("knative-nowhere");
    let path = file(&folder, &service("hello", "a", "", ""));
    let ended = Ebb::start_with(&["up", "-f", &path], &[("PATH", folder.to_str().unwrap())]).end();
    assert_eq!(ended.status.code(), Some(1));
    let text = "ebb: service hello: its image hello needs podman or docker, and neither is in PATH; install one, or \
                give the container a `command` that runs on this machine\n";
    assert_eq!(ended.errors, text);
}

#[test]
fn what_is_wrong_with_all_services_is_told_at_once() {
    let one = service("one", "a", "        env: [{name: PORT, value: \"1\"}]\n", "");
    let other = service("other", "b", "", "  traffic: [{revisionName: other-a, percent: 100}]\n");
    let path = file(&folder("knative-wrong"), &(one + &other));
    let ended = ends(&["up", "-f", &path]);
    assert_eq!(ended.status.code(), Some(1));
    let lines: Vec<&str> = ended.errors.lines().collect();
    let starts = [
        format!("ebb: {path}: Service one: validation failed: \"PORT\" is a reserved environment variable: "),
        format!("{path}: Service other: spec.traffic[0].revisionName: \"other-a\" is not there; want "),
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(&start), "{line}");
    }
}
