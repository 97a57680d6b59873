//! Trailers pass both ways, announced or not.

use ebb_hops::{Case, Step, app::Script, on_every_path};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n";

/// A chunked message.
fn chunked(head: &str, trailers: &str) -> String {
    format!("{head}transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\n{trailers}\r\n")
}

on_every_path! {
    a_request_with_announced_trailers => Case::plain(
        chunked("POST / HTTP/1.1\r\nhost: a\r\ntrailer: x-sum, x-end\r\n", "x-sum: 1\r\nx-end: 2\r\n"), OK);
    a_request_with_trailers_that_nobody_announced => Case::plain(
        chunked("POST / HTTP/1.1\r\nhost: a\r\n", "x-sum: 1\r\nx-sum: 2\r\n"), OK);
    a_request_whose_trailers_come_late => Case::new(
        [
            Step::Send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec()),
            Step::UntilAppSaw(1),
            Step::Send(b"0\r\nx-sum: 1\r\n\r\n".to_vec()),
        ],
        Script::answering(OK),
    );
    an_answer_with_announced_trailers => Case::plain(
        GET, chunked("HTTP/1.1 200 OK\r\ntrailer: x-sum, x-end\r\n", "x-sum: 1\r\nx-end: 2\r\n"));
    an_answer_with_trailers_that_nobody_announced =>
        Case::plain(GET, chunked("HTTP/1.1 200 OK\r\n", "x-sum: 1\r\nx-sum: 2\r\n"));
    an_answer_with_trailers_to_a_client_that_did_not_ask => Case::plain(
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n", chunked("HTTP/1.1 200 OK\r\ntrailer: x-sum\r\n", "x-sum: 1\r\n"));
    trailers_keep_their_bytes => Case::plain(
        b"GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-sum: caf\xe9\r\ngrpc-status: 0\r\n\r\n");
    trailers_of_a_request_keep_their_case_and_their_order => Case::plain(
        chunked("POST / HTTP/1.1\r\nhost: a\r\ntrailer: X-Sum\r\n", "X-Sum: 1\r\nx-lower: 2\r\nETag: 3\r\nx-sum: 4\r\nX-UPPER: 5\r\n"),
        OK);
    trailers_of_an_answer_keep_their_case_and_their_order => Case::plain(
        GET,
        chunked("HTTP/1.1 200 OK\r\ntrailer: X-Sum\r\n", "X-Sum: 1\r\nx-lower: 2\r\nETag: 3\r\nx-sum: 4\r\nX-UPPER: 5\r\n"));
    trailers_keep_their_case_where_some_may_not_pass => Case::plain(
        GET, chunked("HTTP/1.1 200 OK\r\n", "X-Sum: 1\r\nContent-Length: 9\r\nX-End: 2\r\n"),
    ).but("RFC 9110, section 6.5.1: what frames a message is no trailer", |want| {
        want.answer.trailers.retain(|(name, _)| *name != "Content-Length");
    });
    trailers_both_ways => Case::plain(
        chunked("POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n", "x-up: 1\r\n"),
        chunked("HTTP/1.1 200 OK\r\n", "x-down: 1\r\n"));
}
