//! Heads of any size up to a mebibyte pass; larger ones are refused, and the text gives the limit.

use ebb_hops::{Case, Observed, Run, Want, has_a_reason, on_every_path, through_the_hops};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const KIB: usize = 1024;

/// This many fields with values of this many bytes.
fn fields(count: usize, bytes: usize) -> String {
    let value = "v".repeat(bytes);
    let lines: Vec<String> = (0..count).map(|index| format!("x-{index}: {value}\r\n")).collect();
    lines.concat()
}

fn request(fields: &str) -> Case {
    Case::plain(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"), OK)
}

fn answer(fields: &str) -> Case {
    Case::plain(GET, format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok"))
}

fn told_the_limit(observed: &Observed, run: &Run) {
    let answer = &observed.answer;
    assert_eq!((answer.status, run.app_received), (431, 0), "{answer:?}");
    has_a_reason(answer);
    let text = String::from_utf8_lossy(&answer.body.0);
    assert!(["1 MiB", "1048576", "1024 KiB"].iter().any(|limit| text.contains(limit)), "{text}");
}

fn a_bad_gateway_once(observed: &Observed, _: &Run) {
    assert_eq!((observed.answer.status, observed.requests.len()), (502, 1), "{observed:?}");
    has_a_reason(&observed.answer);
}

on_every_path! {
    a_request_with_300_fields => request(&fields(300, 20));
    an_answer_with_300_fields => answer(&fields(300, 20));
    a_request_with_a_field_of_200_kib => request(&fields(1, 200 * KIB));
    a_request_with_a_head_of_900_kib => request(&fields(90, 10 * KIB));
    a_request_with_a_field_of_900_kib => request(&fields(1, 900 * KIB));
    an_answer_with_a_field_of_200_kib => answer(&fields(1, 200 * KIB));
    an_answer_with_a_head_of_900_kib => answer(&fields(90, 10 * KIB));
}

through_the_hops! {
    a_request_head_beyond_a_mebibyte => request(&fields(220, 5 * KIB)).wants(Want::Judged(told_the_limit));
    a_request_field_beyond_a_mebibyte => request(&fields(1, 1100 * KIB)).wants(Want::Judged(told_the_limit));
    a_request_head_of_many_mebibytes => request(&fields(1, 6 * KIB * KIB)).wants(Want::Judged(told_the_limit));
    a_target_beyond_a_mebibyte => Case::plain(
        format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "p".repeat(1100 * KIB)), OK).wants(Want::Refused(&[414, 431]));
    an_answer_head_of_many_mebibytes => answer(&fields(1, 4 * KIB * KIB)).wants(Want::Judged(a_bad_gateway_once));
}
