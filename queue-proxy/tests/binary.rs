//! Tests the program itself: its environment, exit status and signals.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{net::SocketAddr, process::Stdio};

use http::{Response, StatusCode};
use support::*;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

fn program(vars: &[(&str, String)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_queue-proxy"))
        .env_clear()
        .envs(vars.iter().map(|(name, value)| (name, value)))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().expect("it runs").to_string();
    assert!(std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

async fn line_with(lines: &mut Lines<BufReader<ChildStderr>>, text: &str) {
    loop {
        let line = within(lines.next_line()).await.unwrap();
        if line.unwrap_or_else(|| panic!("it ended without {text:?}")).contains(text) {
            return;
        }
    }
}

struct Program {
    child: Child,
    serving: SocketAddr,
    admin: SocketAddr,
}

/// Starts the program in front of `app`; returns it when it listens, with its log.
async fn listening(app: &App, drain_limit: u32) -> (Program, Lines<BufReader<ChildStderr>>) {
    // These ports were free a moment ago: the program does not report which ports it uses.
    let [serving, stats, admin] = [free_port().await, free_port().await, free_port().await];
    let mut child = program(&[
        ("USER_PORT", app.address.port().to_string()),
        ("SERVING_POD", "pod-1".into()),
        ("CONTAINER_CONCURRENCY", "2".into()),
        ("QUEUE_SERVING_PORT", serving.port().to_string()),
        ("EBB_STATS_PORT", stats.port().to_string()),
        ("EBB_ADMIN_PORT", admin.port().to_string()),
        ("EBB_POD_NONCE", "secret".into()),
        ("EBB_DRAIN_QUIET_SECONDS", "0".into()),
        ("EBB_DRAIN_LIMIT_SECONDS", drain_limit.to_string()),
    ]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    line_with(&mut lines, "listening").await;
    (Program { child, serving, admin }, lines)
}

/// Calls the sidecar's own `preStop` hook, like the kubelet.
fn hook() -> http::Request<AnyBody> {
    http::Request::get("/drain").header("ebb-pod-nonce", "secret").body(empty()).unwrap()
}

#[tokio::test]
async fn a_bad_environment_is_told_in_full_and_ends_with_status_64() {
    let child = program(&[
        ("CONTAINER_CONCURRENCY", "many".into()),
        ("USER_PORT", "0".into()),
        ("QUEUE_SERVING_PORT", "80120".into()),
        ("REVISION_TIMEOUT_SECONDS", "0".into()),
        ("SERVING_READINESS_PROBE", "{".into()),
    ]);
    let output = within(child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8(output.stderr).unwrap();
    for fault in [
        "CONTAINER_CONCURRENCY=\"many\"",
        "USER_PORT=\"0\"",
        "QUEUE_SERVING_PORT=\"80120\"",
        "REVISION_TIMEOUT_SECONDS=\"0\"",
        "SERVING_READINESS_PROBE=\"{\"",
        "SERVING_POD=\"\": not set",
    ] {
        assert!(told.contains(fault), "no {fault} in:\n{told}");
    }
}

#[tokio::test]
async fn it_serves_and_drains_on_sigterm() {
    let mut app = App::http1().await;
    let (Program { mut child, serving, .. }, mut lines) = listening(&app, 60).await;
    let mut client = Client::connect(serving).await;
    let answer = client.start(get("/"));
    let (sender, body) = frames();
    app.next().await.answer(Response::new(body));
    let answer = within(answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    signal(&child, "TERM");
    line_with(&mut lines, "draining").await;
    sender.send(data("to the end")).await.unwrap();
    drop(sender);
    assert_eq!(text(answer).await, "to the end");
    line_with(&mut lines, "drained").await;
    assert_eq!(within(child.wait()).await.unwrap().code(), Some(0));
    assert!(Client::try_connect(serving).await.is_err());
}

#[tokio::test]
async fn a_second_wish_ends_it_at_once_and_the_same_signal_twice_at_once_is_one() {
    let mut app = App::http1().await;
    let (Program { mut child, serving, .. }, mut lines) = listening(&app, 60).await;
    let mut client = Client::connect(serving).await;
    let answer = client.start(get("/"));
    let _never_answered = app.next().await;
    signal(&child, "TERM");
    line_with(&mut lines, "draining").await;
    // A process manager signals the group, and the group's leader forwards the signal.
    signal(&child, "TERM");
    line_with(&mut lines, "repeated signal").await;
    signal(&child, "INT");
    assert_eq!(within(child.wait()).await.unwrap().code(), Some(1));
    assert!(within(answer).await.unwrap().is_err());
}

#[tokio::test]
async fn drained_by_its_hook_it_stays_until_sigterm() {
    let app = App::http1().await;
    let (Program { mut child, admin, .. }, mut lines) = listening(&app, 60).await;
    assert_eq!(Client::connect(admin).await.send(hook()).await.status(), StatusCode::OK);
    line_with(&mut lines, "drained").await;
    assert!(child.try_wait().unwrap().is_none(), "the pod is still there");
    signal(&child, "TERM");
    assert_eq!(within(child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn the_sigterm_that_follows_a_hook_is_the_first() {
    let mut app = App::http1().await;
    let (Program { mut child, serving, admin }, mut lines) = listening(&app, 60).await;
    let mut client = Client::connect(serving).await;
    let answer = client.start(get("/"));
    let exchange = app.next().await;
    let mut kubelet = Client::connect(admin).await;
    let hook = kubelet.start(hook());
    line_with(&mut lines, "draining").await;
    // The kubelet does not wait for a hook after the grace period.
    signal(&child, "TERM");
    exchange.answer_with("to the end");
    assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "to the end");
    assert_eq!(within(hook).await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(within(child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_hook_that_nothing_follows_ends_in_a_new_start() {
    let app = App::http1().await;
    let (Program { mut child, admin, .. }, mut lines) = listening(&app, 1).await;
    assert_eq!(Client::connect(admin).await.send(hook()).await.status(), StatusCode::OK);
    line_with(&mut lines, "exiting to be restarted").await;
    assert_eq!(within(child.wait()).await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let app = App::http1().await;
    let taken = tokio::net::TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, 0)).await;
    // Without IPv6, the program uses 0.0.0.0.
    let taken = match taken {
        Ok(listener) => listener,
        Err(_) => tokio::net::TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).await.unwrap(),
    };
    let port = taken.local_addr().unwrap().port().to_string();
    let child = program(&[
        ("USER_PORT", app.address.port().to_string()),
        ("SERVING_POD", "pod-1".into()),
        ("QUEUE_SERVING_PORT", port.clone()),
    ]);
    let output = within(child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot listen on") && told.contains(&port), "{told}");
}
