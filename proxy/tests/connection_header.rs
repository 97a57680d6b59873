//! Fields as clients and attackers write them: almost valid.

use ebb_properties::connection_header::{fields, hold};
use proptest::{collection::vec, prelude::*, sample::select};

const NAMES: [&str; 12] = [
    "connection",
    "Connection",
    "host",
    "content-length",
    "te",
    "upgrade",
    "keep-alive",
    "transfer-encoding",
    "proxy-connection",
    "x-forwarded-for",
    "x-one",
    "x-two",
];
const MEMBERS: [&[u8]; 20] = [
    b"close",
    b"keep-alive",
    b"upgrade",
    b"UPGRADE",
    b"websocket",
    b"h2c",
    b"HTTP2-Settings",
    b"trailers",
    b"x-one",
    b"X-Two",
    b"host",
    b"te",
    b"content-length",
    b"x-forwarded-for",
    b"connection",
    b"10.0.0.1",
    b"",
    b"\t",
    b"caf\xe9",
    b"\"x-one\"",
];

const BETWEEN: [&[u8]; 4] = [b",", b", ", b" ,\t", b";"];

fn line() -> impl Strategy<Value = Vec<u8>> {
    let members = vec(select(&MEMBERS[..]), 0..5);
    (select(&NAMES[..]), members, select(&BETWEEN[..]))
        .prop_map(|(name, members, between)| [name.as_bytes(), b": ", &members.join(between), b"\n"].concat())
}

proptest! {
    #[test]
    fn what_concerns_one_connection_ends_with_it(lines in vec(line(), 0..8)) {
        hold(&fields(&lines.concat()));
    }
}

#[test]
fn a_name_beside_one_that_is_not_ascii_is_removed_all_the_same() {
    hold(&fields(b"host: a\nconnection: x-one, caf\xe9\nx-one: 1\nte: trailers, caf\xe9"));
}

#[test]
fn a_request_keeps_its_host_whatever_connection_names() {
    hold(&fields(b"host: a\nconnection: close, Host"));
}
