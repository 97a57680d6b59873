//! Responses that arrive before the request's body was read: the client gets them completely, and never a reset.

use ebb_hops::{
    Case, Reads, Step, Want,
    app::{Act, Script, write},
    on_every_path, through_the_hops,
};

const UPLOAD: usize = 30 * 1024 * 1024;

const TOO_LARGE: &str = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\n\r\ntoo large";
const UNAUTHORIZED: &str =
    "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"\r\ncontent-length: 6\r\n\r\nwho???";
const FOUND: &str = "HTTP/1.1 302 Found\r\nlocation: /login\r\ntransfer-encoding: chunked\r\n\r\n4\r\nover\r\n5\r\nthere\r\n0\r\n\r\n";

/// An upload of 30 MB to an app that does not wait for it.
fn upload(acts: impl Into<Vec<Act>>) -> Case {
    let head = format!("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: {UPLOAD}\r\n\r\n");
    Case::new([Step::Send(head.into_bytes()), Step::Flood(UPLOAD)], Script::of(acts))
}

/// Closes at once, which sends a reset, because most of the upload was not read.
fn closing(answer: &str) -> Vec<Act> {
    vec![write(answer), Act::Close]
}

/// Closes its sending half, and reads until the client closes.
fn lingering(answer: &str) -> Vec<Act> {
    let answer = answer.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    vec![write(answer), Act::Linger]
}

/// Reads the whole upload after its response, and waits for the next request.
fn keeping(answer: &str) -> Vec<Act> {
    vec![write(answer)]
}

fn wants(case: Case, status: u16, body: &'static str) -> Case {
    case.wants(Want::Answer(status, body))
}

through_the_hops! {
    a_413_of_an_app_that_closes_at_once => wants(upload(closing(TOO_LARGE)), 413, "too large");
    a_401_of_an_app_that_closes_at_once => wants(upload(closing(UNAUTHORIZED)), 401, "who???");
    a_302_of_an_app_that_closes_at_once => wants(upload(closing(FOUND)), 302, "overthere");
    a_413_of_an_app_that_closes_at_once_to_a_client_that_reads_last =>
        wants(upload(closing(TOO_LARGE)), 413, "too large").reading(Reads::AfterSending);
    a_401_that_ends_with_the_connection => wants(
        upload(closing("HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\nuntil the end")), 401, "until the end");
}

on_every_path! {
    a_413_of_an_app_that_lingers => wants(upload(lingering(TOO_LARGE)), 413, "too large");
    a_401_of_an_app_that_lingers => wants(upload(lingering(UNAUTHORIZED)), 401, "who???");
    a_302_of_an_app_that_lingers => wants(upload(lingering(FOUND)), 302, "overthere");
    a_413_of_an_app_that_lingers_to_a_client_that_reads_last =>
        wants(upload(lingering(TOO_LARGE)), 413, "too large").reading(Reads::AfterSending);
    a_413_of_an_app_that_reads_on => wants(upload(keeping(TOO_LARGE)), 413, "too large");
    a_401_of_an_app_that_reads_on => wants(upload(keeping(UNAUTHORIZED)), 401, "who???");
    a_302_of_an_app_that_reads_on => wants(upload(keeping(FOUND)), 302, "overthere");
    a_413_of_an_app_that_reads_on_to_a_client_that_reads_last =>
        wants(upload(keeping(TOO_LARGE)), 413, "too large").reading(Reads::AfterSending);
    an_upload_that_is_read_arrives_whole => Case::new(
        [
            Step::Send(format!("PUT /u HTTP/1.1\r\nhost: a\r\ncontent-length: {UPLOAD}\r\n\r\n").into_bytes()),
            Step::Flood(UPLOAD),
        ],
        Script::answering("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"),
    );
}
