//! Requests with an unclear end, or that two parsers could interpret differently, are refused, and the app receives
//! nothing of them.

use ebb_hops::{Case, Observed, Run, Want, has_a_reason, refused, through_the_hops};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// What an attacker wants the app to take for a separate request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// A POST with these fields, and the bytes after it.
fn post(fields: &str) -> Case {
    refused(format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"))
}

fn get(fields: impl AsRef<[u8]>) -> Case {
    refused([b"GET / HTTP/1.1\r\nhost: a\r\n", fields.as_ref(), b"\r\n\r\n"].concat())
}

/// A body with a fault somewhere after its head. The head may have reached the app by then, but the app must not take
/// the request for complete, or receive what follows.
fn chunks(chunks: &str) -> Case {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    Case::plain(format!("{head}{chunks}{SMUGGLED}"), OK).wants(Want::Judged(never_whole))
}

fn never_whole(observed: &Observed, _: &Run) {
    assert!(observed.requests.len() <= 1, "{observed:?}");
    let whole = observed.requests.iter().find(|request| request.fault.is_none());
    assert_eq!(whole, None, "the app takes it for whole");
    assert_eq!(observed.answer.status, 400, "{observed:?}");
    has_a_reason(&observed.answer);
}

/// The request is refused, or forwarded with one clear meaning.
fn clear(request: impl AsRef<[u8]>) -> Case {
    Case::plain(request, OK).wants(Want::Judged(refused_or_clear))
}

fn refused_or_clear(observed: &Observed, run: &Run) {
    if observed.answer.status == 400 {
        assert_eq!(run.app_received, 0);
        return has_a_reason(&observed.answer);
    }
    assert_eq!(observed.answer.status, 200, "{observed:?}");
    assert_eq!(observed.requests.len(), 1, "{observed:?}");
    assert_eq!(observed.requests[0].fault, None);
}

through_the_hops! {
    a_length_and_chunks => post("content-length: 5\r\ntransfer-encoding: chunked");
    chunks_and_a_length => post("transfer-encoding: chunked\r\ncontent-length: 5");
    two_lengths => post("content-length: 5\r\ncontent-length: 6");
    two_lengths_in_a_line => post("content-length: 5, 6");
    a_length_with_a_plus => post("content-length: +5");
    a_length_with_a_minus => post("content-length: -5");
    a_length_in_hexadecimal => post("content-length: 0x5");
    a_length_of_two_numbers => post("content-length: 5 5");
    a_length_with_an_underscore => post("content-length: 1_0");
    an_empty_length => post("content-length:");
    a_length_beyond_all_numbers => post("content-length: 99999999999999999999");
    a_length_that_wraps_around => post("content-length: 18446744073709551621");
    a_coding_that_nobody_knows => post("transfer-encoding: xchunked");
    chunks_that_are_not_the_last_coding => post("transfer-encoding: chunked, identity");
    identity => post("transfer-encoding: identity");
    chunks_twice => post("transfer-encoding: chunked, chunked");
    chunks_in_two_lines => post("transfer-encoding: chunked\r\ntransfer-encoding: chunked");
    another_coding_in_a_second_line => post("transfer-encoding: chunked\r\ntransfer-encoding: identity");
    chunks_after_a_vertical_tab => post("transfer-encoding: \x0bchunked");
    chunks_in_quotes => post("transfer-encoding: \"chunked\"");
    an_empty_coding => post("transfer-encoding:");
    another_coding_before_chunks => post("transfer-encoding: gzip, chunked").wants(Want::Refused(&[400, 501]));
    a_space_before_the_colon_of_the_length => post("content-length : 5");
    a_space_before_the_colon_of_the_coding => post("transfer-encoding : chunked");
    a_tab_before_the_colon => get("x-a\t: b");
    chunks_in_http_1_0 => refused(format!(
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"));
    a_folded_line => get("x-a: b\r\n c");
    a_folded_coding => post("transfer-encoding:\r\n chunked");
    a_space_before_the_first_field => refused("GET / HTTP/1.1\r\n host: a\r\n\r\n");
    a_nul_in_a_value => get("x-a: b\0c");
    a_nul_in_a_name => get("x\0a: b");
    a_nul_in_the_target => refused("GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n");
    a_bare_carriage_return_in_a_value => get("x-a: b\rtransfer-encoding: chunked");
    a_bare_carriage_return_in_the_first_line => refused("GET /\r HTTP/1.1\r\nhost: a\r\n\r\n");
    a_control_character_in_a_value => get("x-a: b\x01c");
    a_delete_character_in_a_value => get("x-a: b\x7fc");
    a_control_character_in_a_name => get("x\x01a: b");
    a_byte_beyond_ascii_in_a_name => get(b"x\xe9a: b");
    a_space_in_a_name => get("x a: b");
    an_empty_name => get(": b");
    a_line_without_a_colon => get("nonsense");
    no_host => refused("GET / HTTP/1.1\r\nx-a: b\r\n\r\n");
    two_hosts => refused("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n");
    two_hosts_of_http_1_0 => refused("GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n");
    a_host_with_a_space => refused("GET / HTTP/1.1\r\nhost: a b\r\n\r\n");
    a_host_with_a_path => refused("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n");
    a_host_with_a_user => refused("GET / HTTP/1.1\r\nhost: u@a\r\n\r\n");
    two_spaces_after_the_method => refused("GET  / HTTP/1.1\r\nhost: a\r\n\r\n");
    a_tab_after_the_method => refused("GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n");
    a_space_after_the_version => refused("GET / HTTP/1.1 \r\nhost: a\r\n\r\n");
    a_method_that_is_none => refused("G(T / HTTP/1.1\r\nhost: a\r\n\r\n");
    no_version => refused("GET /\r\nhost: a\r\n\r\n").wants(Want::Refused(&[400, 505]));
    a_version_in_small_letters => refused("GET / http/1.1\r\nhost: a\r\n\r\n").wants(Want::Refused(&[400, 505]));
    a_version_with_more_digits => refused("GET / HTTP/1.10\r\nhost: a\r\n\r\n").wants(Want::Refused(&[400, 505]));
    what_tls_says => refused(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n");

    bare_line_feeds_in_the_head => clear("GET / HTTP/1.1\nhost: a\nx-a: b\n\n");
    a_bare_line_feed_before_the_coding =>
        clear("POST / HTTP/1.1\r\nhost: a\r\nx-a: b\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    the_same_length_twice => clear("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello");
    the_same_length_twice_in_a_line => clear("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\nhello");
    a_length_with_zeros => clear("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0005\r\n\r\nhello");
    an_empty_line_in_front => clear("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n");

    a_chunk_size_that_is_none => chunks("zz\r\nhello\r\n0\r\n\r\n");
    a_chunk_size_with_a_sign => chunks("+5\r\nhello\r\n0\r\n\r\n");
    a_chunk_size_with_0x => chunks("0x5\r\nhello\r\n0\r\n\r\n");
    an_empty_chunk_size => chunks("\r\nhello\r\n0\r\n\r\n");
    a_chunk_size_beyond_all_numbers => chunks("fffffffffffffffff\r\nhello\r\n0\r\n\r\n");
    a_chunk_size_that_wraps_around => chunks("10000000000000005\r\nhello\r\n0\r\n\r\n");
    a_chunk_longer_than_its_size => chunks("5\r\nhello!\r\n0\r\n\r\n");
    a_chunk_without_a_line_end => chunks("5\r\nhello0\r\n\r\n");
    a_bare_line_feed_after_a_chunk_size => chunks("5\nhello\r\n0\r\n\r\n");
    a_bare_carriage_return_after_a_chunk_size => chunks("5\rhello\r\n0\r\n\r\n");
    a_bare_line_feed_in_a_chunk_extension => chunks("5;a\nhello\r\n0\r\n\r\n");
    a_bare_line_feed_after_a_chunk => chunks("5\r\nhello\n0\r\n\r\n");
    a_trailer_without_a_colon => chunks("5\r\nhello\r\n0\r\nnonsense\r\n\r\n");
    a_folded_trailer => chunks("5\r\nhello\r\n0\r\nx-a: b\r\n c\r\n\r\n");
    trailers_without_end => chunks(&format!("5\r\nhello\r\n0\r\nx-a: {}\r\n\r\n", "t".repeat(2 * 1024 * 1024)));
    a_chunk_extension_without_end => chunks(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(2 * 1024 * 1024)));
}
