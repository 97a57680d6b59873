//! Services from files.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use support::{Ebb, assert_ok, ends, free_ports, get, get_from};

const EBB: &str = env!("CARGO_BIN_EXE_ebb");

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples")
}

fn end_well(ebb: Ebb) {
    ebb.signal(Signal::INT);
    let ended = ebb.end();
    assert_eq!((ended.status.code(), ended.errors.as_str()), (Some(0), ""));
}

#[test]
fn the_examples_services_both_answer() {
    let [hello, slow, gateway] = free_ports();
    let example = fs::read_to_string(examples().join("ebb.yaml")).unwrap();
    // As it stands but for what is this machine's: ports, and where `ebb` is.
    let ours = example
        .replace("gateway: 8080", &format!("gateway: {gateway}"))
        .replace("port: 8081", &format!("port: {hello}"))
        .replace("port: 8082", &format!("port: {slow}"))
        .replace("[ebb, ", &format!("[{EBB}, "))
        .replace("manifest: ", &format!("manifest: {}/", examples().display()));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("example.yaml");
    fs::write(&path, ours).unwrap();
    let ebb = Ebb::start(&["up", "-f", path.to_str().unwrap()]);
    let addresses = [ebb.address("hello"), ebb.address("slow")];
    assert_eq!(addresses.map(|address| address.port()), [hello, slow]);
    for address in addresses {
        assert_ok(&get(address, "/"));
    }
    let gateway = SocketAddr::from(([127, 0, 0, 1], gateway));
    for (host, pod) in [("hello.localhost", "hello-"), ("Slow.LOCALHOST:8080", "slow-")] {
        let answer = get_from(gateway, host, "/");
        assert_ok(&answer);
        assert!(answer.contains(pod), "{answer}");
    }
    let answer = get_from(gateway, "other.localhost", "/");
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("ebb-reason: no-route"), "{answer}");
    end_well(ebb);
}

#[test]
fn hosts_are_asked_for_once_and_in_vain_without_a_gateway() {
    let write = |name: &str, text: &str| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let [one, other] = free_ports();
    let service = |name: &str, port: u16| {
        format!("  {name}: {{port: {port}, command: [{EBB}, sample-app], annotations: {{hosts: a.test}}}}\n")
    };
    let twice = format!("services:\n{}{}", service("one", one), service("two", other));
    let refused = ends(&["up", "-f", &write("twice-hosts.yaml", &twice)]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.errors.contains("\"two\": asks for a.test, which one asks for"), "{}", refused.errors);

    let alone = format!("services:\n{}", service("one", one));
    let ebb = Ebb::start(&["up", "-f", &write("no-gateway.yaml", &alone)]);
    assert_ok(&get(ebb.address("one"), "/"));
    ebb.signal(Signal::INT);
    let ended = ebb.end();
    assert!(
        ended.errors.contains("one: warning: ebb.dev/hosts: has no effect without a gateway"),
        "{}",
        ended.errors
    );
}

#[test]
fn a_service_manifest_names_and_scales_the_service() {
    let manifest = examples().join("hello-service.yaml");
    let ebb = Ebb::start(&["run", "--port=0", "-f", manifest.to_str().unwrap(), "--", EBB, "sample-app"]);
    let (address, described) = ebb.line("line of the service", |line| {
        let (address, described) = line.split_once("hello: http://")?.1.split_once(" → ")?;
        Some((address.parse().unwrap(), described.to_owned()))
    });
    assert!(described.contains("0 to 10 pods"), "{described}");
    assert_ok(&get(address, "/"));
    end_well(ebb);
}

#[test]
fn clients_reach_a_service_where_the_command_line_says() {
    let ebb =
        Ebb::start(&["run", "--name=elsewhere", "--host=127.0.0.2", "--port=0", "--", EBB, "sample-app"]);
    let address = ebb.address("elsewhere");
    assert_eq!(address.ip().to_string(), "127.0.0.2");
    assert_ok(&get(address, "/"));
    end_well(ebb);
}

#[test]
fn what_the_command_line_sets_wins_over_the_manifest() {
    let manifest = examples().join("hello-service.yaml");
    let ebb = Ebb::start(&[
        "run",
        "--name=mine",
        "--port=0",
        "--set=max-scale=3",
        "-f",
        manifest.to_str().unwrap(),
        "--",
        EBB,
        "sample-app",
    ]);
    ebb.line("line of the service", |line| {
        (line.contains("mine: http://") && line.contains("0 to 3 pods")).then_some(())
    });
    end_well(ebb);
}

#[test]
fn a_service_without_a_command_divides_its_requests_and_is_explained() {
    let text = format!(
        "services:\n  split:\n    port: {}\n    annotations: {{split: \"one=3, other=1\"}}\n  one:\n    port: {}\n    \
         command: [{EBB}, sample-app]\n  other:\n    port: {}\n    command: [{EBB}, sample-app]\n",
        free_ports::<1>()[0],
        free_ports::<1>()[0],
        free_ports::<1>()[0],
    );
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("split.yaml");
    fs::write(&path, text).unwrap();
    let api = format!("127.0.0.1:{}", free_ports::<1>()[0]);
    let ebb = Ebb::start(&["up", "--api", &api, "-f", path.to_str().unwrap()]);
    let (address, described) = ebb.line("line of the route", |line| {
        let (address, described) = line.split_once("split: http://")?.1.split_once(" → ")?;
        Some((address.parse().unwrap(), described.to_owned()))
    });
    assert_eq!(described, "one 75 %, other 25 %");
    let answers: Vec<String> = (0..8).map(|_| get(address, "/")).collect();
    let by =
        |name: &str| answers.iter().filter(|answer| answer.contains(&format!("sample-pod: {name}-"))).count();
    assert_eq!((by("one"), by("other")), (6, 2), "{answers:#?}");
    let explained = support::ends_well(&["explain", "split", "--api", &api]);
    assert!(
        explained.contains("local/split: a route; an activator chooses for each request\n"),
        "{explained}"
    );
    assert!(explained.contains("  one     75.00 %  1 ready"), "{explained}");
    end_well(ebb);
}
