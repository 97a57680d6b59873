//! A client that closes its half of the connection after its request gets the response.

use ebb_hops::{
    Case, Step,
    app::{Act, Script, write},
    on_every_path,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The app responds when it is certain that the end has arrived, too.
fn shut_after(request: &str) -> Case {
    Case::new(
        [Step::Send(request.as_bytes().to_vec()), Step::Shut, Step::UntilAppSaw(1), Step::Tell],
        Script::of([Act::Read, Act::UntilTold(1), write(OK)]),
    )
}

on_every_path! {
    after_a_get => shut_after("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    after_a_get_that_closes => shut_after("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    after_a_get_of_http_1_0 => shut_after("GET / HTTP/1.0\r\nhost: a\r\n\r\n")
        .but("RFC 9112, section 2.3: a hop sends its own version", |want| want.request_line_is("GET / HTTP/1.1"));
    after_a_post => shut_after("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
    // The end is noticed late, because the body is not read before the app has had a second to ask for it.
    after_a_post_that_did_not_wait_to_be_asked => shut_after(
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello");
    after_a_post_of_http_1_0_that_expects => shut_after(
        "POST / HTTP/1.0\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello")
        .but("RFC 9110, section 10.1.1: HTTP/1.0 has no expectations", |want| {
            want.request_line_is("POST / HTTP/1.1");
            want.requests_lack("expect");
        });
    after_chunks => shut_after("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    after_a_get_with_a_long_answer => {
        let mut case = shut_after("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n{}", "z".repeat(3_000_000));
        case.app = Script::of([Act::Read, Act::UntilTold(1), write(answer)]);
        case
    };
}
