//! Bodies, their lengths, and messages that have none.

use ebb_hops::{
    Case, Hops, Path, Reads, Step, Want,
    app::{Act, App, Script, write},
    client::Client,
    on_every_path, through_the_hops,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n";

fn sized(method: &str) -> Case {
    Case::plain(format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"), OK)
}

fn chunked(method: &str) -> Case {
    let head = format!("{method} / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    Case::plain(head + "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", OK)
}

/// A response of some megabytes.
fn large(framing: &str, pieces: impl Fn(&str) -> String) -> Case {
    let body: String = (0..200).map(|_| pieces(&"y".repeat(16 * 1024))).collect();
    Case::plain(GET, format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}"))
}

/// The app closes the connection after its response.
fn breaking_off(answer: &str) -> Case {
    Case::new([Step::Send(GET.as_bytes().to_vec())], Script::of([Act::Read, write(answer), Act::Close]))
        .wants(Want::BrokenOff(200))
}

on_every_path! {
    a_get_with_a_body => sized("GET");
    a_get_with_a_chunked_body => chunked("GET");
    a_delete_with_a_body => sized("DELETE");
    a_delete_with_a_chunked_body => chunked("DELETE");
    an_options_with_a_body => sized("OPTIONS");
    a_post_with_a_body => sized("POST");
    a_patch_with_a_chunked_body => chunked("PATCH");
    a_method_of_the_apps_own => sized("M-SEARCH");
    a_method_in_small_letters => sized("post");
    a_post_of_length_zero => Case::plain("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", OK);
    a_post_without_a_length => Case::plain("POST / HTTP/1.1\r\nhost: a\r\n\r\n", OK);
    an_empty_chunked_post =>
        Case::plain("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", OK);
    a_body_that_comes_in_pieces => Case::new(
        [
            Step::Send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello".to_vec()),
            Step::UntilAppSaw(1),
            Step::Send(b"world".to_vec()),
        ],
        Script::answering(OK),
    );
    a_head_with_a_length => Case::plain(HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 123456\r\n\r\n");
    a_head_of_what_would_be_chunked => Case::plain(HEAD, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    a_head_of_unknown_length => Case::plain(HEAD, "HTTP/1.1 200 OK\r\nx-a: b\r\n\r\n");
    a_head_with_length_zero => Case::plain(HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    a_204 => Case::plain(GET, "HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n");
    a_304 => Case::plain(GET, "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n");
    a_304_that_tells_the_length => Case::plain(GET, "HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\n\r\n");
    an_empty_answer => Case::plain(GET, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    an_answer_that_ends_with_its_connection => Case::new(
        [Step::Send(GET.as_bytes().to_vec())],
        Script::of([write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end"), Act::Close]),
    );
    an_answer_that_ends_with_its_connection_and_does_not_say_so => Case::new(
        [Step::Send(GET.as_bytes().to_vec())],
        Script::of([write("HTTP/1.1 200 OK\r\n\r\nuntil the end"), Act::Close]),
    );
    a_large_answer => large("content-length: 3276800", str::to_owned);
    a_large_answer_in_chunks => {
        let mut case = large("transfer-encoding: chunked", |piece| format!("4000\r\n{piece}\r\n"));
        case.app.acts.push(write("0\r\n\r\n"));
        case
    };
    an_answer_that_breaks_off_does_not_seem_whole => breaking_off("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    chunks_that_break_off_do_not_seem_whole =>
        breaking_off("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    chunks_without_an_end_do_not_seem_whole =>
        breaking_off("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n");
    a_large_answer_to_a_client_that_reads_late =>
        large("content-length: 3276800", str::to_owned).reading(Reads::AfterSending);
    a_status_that_nobody_knows => Case::plain(GET, "HTTP/1.1 299 Miscellaneous Persistent\r\ncontent-length: 1\r\n\r\nx");
    a_status_beyond_the_classes => Case::plain(GET, "HTTP/1.1 799 Odd\r\ncontent-length: 1\r\n\r\nx");
}

through_the_hops! {
    // RFC 9112, section 6.3: the coding overrides the length, which an intermediary removes.
    a_length_beside_chunks_goes_away => Case::plain(
        GET, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ).wants(Want::Answer(200, "hello"));
    chunks_beside_a_length_that_is_right => Case::plain(
        GET, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ).wants(Want::Answer(200, "hello"));
    // RFC 9110, section 8.6: a 204 has no length; a hop that passed the app's length on would violate it, too.
    a_204_that_tells_a_length => Case::plain(
        GET, "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n").wants(Want::Answer(204, ""));
}

/// Requests that a client sends without waiting for responses are answered in order.
async fn pipelined(path: Path) {
    let app = App::start(
        Script::answering(OK)
            .at("/1", [Act::Read, write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none")])
            .at(
                "/2",
                [
                    Act::Read,
                    write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"),
                ],
            ),
    )
    .await;
    let hops = Hops::start(path, &[app.address]).await;
    let mut client = Client::connect(hops.entry).await;
    let body = "content-length: 4\r\n\r\nbody";
    client
        .send(format!(
            "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a\r\n{body}HEAD /3 HTTP/1.1\r\nhost: a\r\n\r\n{GET}"
        ))
        .await;
    for (to_head, body) in [(false, "one"), (false, "two"), (true, ""), (false, "ok")] {
        let answer = client.answers.next(to_head).await;
        assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "{answer:?}");
        assert_eq!(answer.body, body);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_by_the_sidecar() {
    pipelined(Path::Sidecar).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_through_both() {
    pipelined(Path::Both).await;
}
