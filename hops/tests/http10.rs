//! HTTP/1.0 clients and apps.

use ebb_hops::{
    Case, Hops, Observed, Path, Run, Step, Want,
    app::{Act, App, Script, write},
    client::Client,
    on_every_path, through_the_hops,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn without_an_empty_host(observed: &Observed, _: &Run) {
    assert_eq!((observed.answer.status, observed.answer.fault.as_deref()), (200, None), "{observed:?}");
    let request = &observed.requests[0];
    assert_eq!(request.fault, None, "{request:?}");
    assert!(!request.head.all("host").contains(&&b""[..]), "{request:?}");
}

/// RFC 9112, section 6.1: an HTTP/1.0 client gets no chunks; the end of the connection marks the end of the response.
fn without_chunks(observed: &Observed, run: &Run) {
    let heard = String::from_utf8_lossy(&run.heard);
    assert!(!heard.to_ascii_lowercase().contains("transfer-encoding"), "{heard}");
    assert!(heard.ends_with("\r\n\r\nhello"), "{heard}");
    assert_eq!((observed.answer.status, observed.answer.fault.as_deref()), (200, None));
}

fn old(acts: impl Into<Vec<Act>>) -> Case {
    Case::new([Step::Send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec())], Script::of(acts))
}

on_every_path! {
    an_app_of_http_1_0_with_a_length =>
        old([write("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"), Act::Close]);
    an_app_of_http_1_0_that_closes => old([write("HTTP/1.0 200 OK\r\nx-a: b\r\n\r\nuntil the end"), Act::Close]);
    an_app_of_http_1_0_that_keeps_alive =>
        old([write("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok")]);
    a_request_of_http_1_0_with_a_host => Case::plain("GET /x HTTP/1.0\r\nhost: a\r\n\r\n", OK)
        .but("RFC 9112, section 2.3: a hop sends its own version", |want| want.request_line_is("GET /x HTTP/1.1"));
    a_post_of_http_1_0 => Case::plain("POST /x HTTP/1.0\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello", OK)
        .but("RFC 9112, section 2.3: a hop sends its own version", |want| want.request_line_is("POST /x HTTP/1.1"));
}

through_the_hops! {
    a_request_of_http_1_0_without_a_host =>
        Case::plain("GET / HTTP/1.0\r\n\r\n", OK).wants(Want::Judged(without_an_empty_host));
    chunks_to_a_client_of_http_1_0 => Case::plain(
        "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ).wants(Want::Judged(without_chunks));
    chunks_to_a_client_of_http_1_0_that_would_keep_alive => Case::plain(
        "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ).wants(Want::Judged(without_chunks));
}

async fn keeps_alive(path: Path) {
    let app = App::start(Script::answering(OK)).await;
    let hops = Hops::start(path, &[app.address]).await;
    let mut client = Client::connect(hops.entry).await;
    for _ in 0..3 {
        let answer = client.ask("GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n").await;
        assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "{answer:?}");
        assert!(answer.field("connection").0.eq_ignore_ascii_case(b"keep-alive"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_may_keep_its_connection_to_the_sidecar() {
    keeps_alive(Path::Sidecar).await;
}

#[tokio::test]
async fn a_client_of_http_1_0_may_keep_its_connection_through_both() {
    keeps_alive(Path::Both).await;
}
