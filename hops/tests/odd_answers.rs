//! Irregular responses are repaired, or result in a 502 that says why. The request is never sent again.

use ebb_hops::{
    Case, Step, Want,
    app::{Act, Script, write},
    through_the_hops,
};

fn asked(method: &str, acts: impl Into<Vec<Act>>) -> Case {
    let body = if method == "POST" { "content-length: 2\r\n\r\nhi" } else { "\r\n" };
    let request = format!("{method} / HTTP/1.1\r\nhost: a\r\n{body}");
    Case::new([Step::Send(request.into_bytes())], Script::of(acts))
}

/// May be repaired; the body of the response is `ok`.
fn odd(answer: impl AsRef<[u8]>) -> Case {
    let repaired = Some((200, "ok"));
    asked("GET", [Act::Read, write(answer)]).wants(Want::RepairedOrBadGateway { repaired, deliveries: 1 })
}

/// Is unreadable.
fn broken(method: &str, answer: impl AsRef<[u8]>) -> Case {
    let want = Want::RepairedOrBadGateway { repaired: None, deliveries: 1 };
    asked(method, [Act::Read, write(answer)]).wants(want)
}

/// Is unreadable, and the connection ends.
fn broken_off(method: &str, answer: impl AsRef<[u8]>) -> Case {
    let want = Want::RepairedOrBadGateway { repaired: None, deliveries: 1 };
    asked(method, [Act::Read, write(answer), Act::Close]).wants(want)
}

through_the_hops! {
    a_folded_line => odd("HTTP/1.1 200 OK\r\nx-a: one\r\n two\r\ncontent-length: 2\r\n\r\nok");
    a_space_before_the_colon => odd("HTTP/1.1 200 OK\r\nx-a : one\r\ncontent-length: 2\r\n\r\nok");
    a_space_before_the_colon_of_the_length => odd("HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok");
    no_reason_phrase => odd("HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok");
    no_reason_phrase_and_no_space => odd("HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok");
    bare_line_feeds => odd("HTTP/1.1 200 OK\nx-a: b\ncontent-length: 2\n\nok");
    a_bare_line_feed_among_others => odd("HTTP/1.1 200 OK\r\nx-a: b\ncontent-length: 2\r\n\r\nok");
    the_same_length_twice => odd("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok");
    the_same_length_twice_in_a_line => odd("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok");
    a_line_without_a_colon => odd("HTTP/1.1 200 OK\r\nnonsense\r\ncontent-length: 2\r\n\r\nok");
    an_empty_line_in_front => odd("\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    spaces_between_version_and_status => odd("HTTP/1.1  200 OK\r\ncontent-length: 2\r\n\r\nok");
    a_version_between_1_1_and_2 => odd("HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\nok");
    more_than_the_length_says =>
        asked("GET", [Act::Read, write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more")]).wants(Want::Answer(200, "ok"));
    a_version_in_small_letters => broken("GET", "http/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    a_version_of_2 => broken("GET", "HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok");
    two_lengths => broken("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok");
    a_length_that_is_none => broken("GET", "HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\nok");
    a_length_with_a_sign => broken("GET", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok");
    a_length_beyond_all_numbers => broken("GET", "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok");
    a_status_of_two_digits => broken("GET", "HTTP/1.1 99 OK\r\ncontent-length: 2\r\n\r\nok");
    a_status_of_four_digits => broken("GET", "HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok");
    a_status_that_is_no_number => broken("GET", "HTTP/1.1 abc OK\r\ncontent-length: 2\r\n\r\nok");
    a_nul_in_a_value => broken("GET", b"HTTP/1.1 200 OK\r\nx-a: b\0c\r\ncontent-length: 2\r\n\r\nok");
    a_bare_carriage_return_in_a_value => broken("GET", "HTTP/1.1 200 OK\r\nx-a: b\rc\r\ncontent-length: 2\r\n\r\nok");
    an_empty_name => broken("GET", "HTTP/1.1 200 OK\r\n: b\r\ncontent-length: 2\r\n\r\nok");
    a_switch_that_nobody_asked_for => broken(
        "GET", "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    what_another_protocol_says_to_a_get => broken("GET", "SSH-2.0-OpenSSH_9.6\r\n\r\n");
    what_another_protocol_says_to_a_post => broken("POST", "SSH-2.0-OpenSSH_9.6\r\n\r\n");
    what_tls_says_to_a_get => broken_off("GET", b"\x15\x03\x01\x00\x02\x02\x46");
    what_tls_says_to_a_post => broken_off("POST", b"\x15\x03\x01\x00\x02\x02\x46");
    garbage_and_a_close_to_a_get => broken_off("GET", "garbage");
    half_a_head_and_a_close_to_a_get => broken_off("GET", "HTTP/1.1 200 OK\r\ncontent-le");
    half_a_head_and_a_close_to_a_post => broken_off("POST", "HTTP/1.1 200 OK\r\ncontent-le");
    hints_and_no_answer => broken_off("POST", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    a_chunk_size_that_is_none => asked(
        "GET", [Act::Read, write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"), Act::Close],
    ).wants(Want::BrokenOff(200));
}
