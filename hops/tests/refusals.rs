//! When a hop itself refuses a request, it says so: with a reason for programs and a text for people, in the client's
//! protocol.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use ebb_hops::{
    Case, Hops, Observed, PATIENCE, Path, Run, Want,
    app::{Act, App, Script, write},
    client::Client,
    has_a_reason, refused, through_the_hops,
};
use tokio::sync::oneshot;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn in_the_words_of_grpc(observed: &Observed, _: &Run) {
    let answer = &observed.answer;
    assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "{answer:?}");
    assert_ne!(answer.field("ebb-reason"), "", "{answer:?}");
    assert!(["13", "14"].iter().any(|status| answer.field("grpc-status") == *status), "{answer:?}");
    assert_ne!(answer.field("grpc-message"), "", "{answer:?}");
}

/// The request is refused. Then the connection is closed, because nobody knows where the next request starts.
fn closed_after(observed: &Observed, run: &Run) {
    has_a_reason(&observed.answer);
    assert_eq!((observed.answer.status, run.app_received), (400, 0));
    let heard = String::from_utf8_lossy(&run.heard);
    assert!(heard.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{heard}");
}

through_the_hops! {
    a_request_that_cannot_be_read => refused("GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n");
    a_request_that_cannot_be_read_ends_the_connection =>
        refused("GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n").wants(Want::Judged(closed_after));
    two_hosts => refused("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
    a_version_of_2 => refused("GET / HTTP/2.0\r\nhost: a\r\n\r\n").wants(Want::Refused(&[505]));
    a_version_of_3 => refused("GET / HTTP/3.0\r\nhost: a\r\n\r\n").wants(Want::Refused(&[505]));
    a_version_of_0_9 => refused("GET / HTTP/0.9\r\nhost: a\r\n\r\n").wants(Want::Refused(&[505]));
    a_target_too_long => refused(
        format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "p".repeat(1024 * 1100))).wants(Want::Refused(&[414, 431]));
    a_head_too_long => refused(
        format!("GET / HTTP/1.1\r\nhost: a\r\nx-a: {}\r\n\r\n", "v".repeat(1024 * 1100))).wants(Want::Refused(&[431]));
    an_app_that_breaks_off_on_a_client_of_grpc => {
        let request = "POST /s/M HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc+proto\r\ncontent-length: 2\r\n\r\nhi";
        let mut case = Case::plain(request, OK).wants(Want::Judged(in_the_words_of_grpc));
        case.app = Script::of([Act::Read, Act::Close]);
        case
    };
    an_app_that_cannot_be_read_to_a_client_of_grpc => {
        let request = "POST /s/M HTTP/1.1\r\nhost: a\r\nContent-Type: application/grpc\r\ncontent-length: 2\r\n\r\nhi";
        let mut case = Case::plain(request, OK).wants(Want::Judged(in_the_words_of_grpc));
        case.app = Script::of([Act::Read, write("nonsense\r\n\r\n"), Act::Close]);
        case
    };
}

/// If an app sends Ebb's own reasons, they are neither trusted nor passed on.
async fn reasons_are_ours(path: Path) {
    let answer = "HTTP/1.1 502 Bad Gateway\r\nebb-reason: app-refused\r\ncontent-length: 2\r\n\r\nno";
    let app = App::start(Script::answering(answer)).await;
    let hops = Hops::start(path, &[app.address]).await;
    let answer = Client::connect(hops.entry).await.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.field("ebb-reason")), (502, "".into()));
    assert_eq!(app.seen().len(), 1);
}

#[tokio::test]
async fn an_app_cannot_speak_for_the_sidecar() {
    reasons_are_ours(Path::Sidecar).await;
}

#[tokio::test]
async fn an_app_cannot_speak_for_either() {
    reasons_are_ours(Path::Both).await;
}

/// A client that sends only a part of its request is told when its time is over.
async fn half_a_head(path: Path) {
    let app = App::start(Script::answering(OK)).await;
    let hops = Hops::start(path, &[app.address]).await;
    let mut stream = TcpStream::connect(hops.entry).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    // All of it arrives before the hop reads for the first time, because this thread is the runtime's only one.
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-half").expect("room to send");
    tokio::time::pause();
    for _ in 0..12 {
        tokio::time::advance(Duration::from_secs(10)).await;
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
    let (said, answered) = oneshot::channel();
    std::thread::spawn(move || {
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer).map(|_| String::from_utf8_lossy(&answer).into_owned());
        // The test may have ended.
        let _ = said.send(ended);
    });
    let answer = answered.await.expect("the thread lives").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    assert!(answer.to_ascii_lowercase().contains("\r\nebb-reason: "), "{answer:?}");
}

#[tokio::test]
async fn the_sidecar_says_408_to_a_client_that_stops_within_its_head() {
    half_a_head(Path::Sidecar).await;
}

#[tokio::test]
async fn the_activator_says_408_to_a_client_that_stops_within_its_head() {
    half_a_head(Path::Both).await;
}
