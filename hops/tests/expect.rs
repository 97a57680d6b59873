//! The app answers `Expect: 100-continue` (RFC 9110, section 10.1.1).

use std::time::Duration;

use ebb_hops::{
    Case, Observed, Run, Step, Want,
    app::{Act, Script, write},
    on_every_path, through_the_hops,
};

const HEAD: &str = "PUT /x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
const GO_ON: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

/// A client that sends no body unless it is asked to, and an app that does not ask.
fn refusal(status_line: &str) -> Case {
    let answer = format!("HTTP/1.1 {status_line}\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno");
    let head = HEAD.replace("content-length: 5", "content-length: 31457280");
    Case::new([send(&head)], Script::of([write(answer), Act::Close]))
}

/// A client that waits to be asked.
fn asked(acts: impl Into<Vec<Act>>) -> Case {
    Case::new([send(HEAD), Step::UntilHeard("100 Continue"), send("hello")], Script::of(acts))
}

fn asked_once_after_a_second(observed: &Observed, run: &Run) {
    let asked: Vec<_> = observed.answer.interim.iter().map(|head| head.line.clone()).collect();
    assert_eq!(asked, ["100 Continue"]);
    assert_eq!((observed.answer.status, &*observed.requests[0].body.0), (200, &b"hello"[..]));
    let seconds = Duration::from_millis(900)..Duration::from_secs(10);
    assert!(seconds.contains(&run.took), "the app had a second to say it itself: {:?}", run.took);
}

on_every_path! {
    an_app_that_answers_417_at_once_is_heard_and_no_body_is_asked_for => refusal("417 Expectation Failed");
    an_app_that_answers_413_at_once_is_heard_and_no_body_is_asked_for => refusal("413 Content Too Large");
    an_app_that_answers_401_at_once_is_heard_and_no_body_is_asked_for => refusal("401 Unauthorized");
    an_app_that_says_100_is_heard_once => asked([write(GO_ON), Act::Read, write(OK)]);
    // A 100 of the hop's own would arrive before the 102.
    nothing_is_asked_for_before_the_app_asks => asked(
        [write("HTTP/1.1 102 Processing\r\n\r\n"), write(GO_ON), Act::Read, write(OK)]);
    an_app_that_says_100_and_refuses_after_it_has_read => asked(
        [write(GO_ON), Act::Read, write("HTTP/1.1 422 Unprocessable Content\r\ncontent-length: 2\r\n\r\nno")]);
    a_chunked_body_is_asked_for_too => Case::new(
        [
            send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"),
            Step::UntilHeard("100 Continue"),
            send("5\r\nhello\r\n0\r\n\r\n"),
        ],
        Script::of([write(GO_ON), Act::Read, write(OK)]),
    );
    // RFC 9110, section 10.1.1: a server that already has the content need not ask for it.
    a_client_that_does_not_wait_is_not_asked => Case::new(
        [send(&HEAD.replace("\r\n\r\n", "\r\n\r\nhello"))], Script::answering(OK));
}

through_the_hops! {
    an_app_that_never_asks_gets_the_body_after_a_second =>
        asked([Act::Read, write(OK)]).wants(Want::Judged(asked_once_after_a_second));
}
