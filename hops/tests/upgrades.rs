//! `WebSocket`s pass; the upgrade to HTTP/2 ends at the hop.

use ebb_hops::{
    Case, Step,
    app::{Act, Script, write},
    on_every_path,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const ASK: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const ASK_H2C: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n\
    http2-settings: AAMAAABkAAQAAP__\r\n\r\n";

fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

fn without_h2c(case: Case) -> Case {
    case.but(
        "RFC 9113, section 3.1: the h2c upgrade is obsolete, and is between a client and its next hop",
        |want| {
            want.requests_lack("upgrade");
            want.requests_lack("http2-settings");
        },
    )
}

on_every_path! {
    bytes_go_both_ways => Case::new(
        [send(ASK), Step::UntilHeard("s3pPLM"), send("ping"), Step::UntilHeard("ping"), send("pong"), Step::UntilHeard("pingpong")],
        Script::of([write(SWITCH), Act::Echo]),
    );
    bytes_that_come_with_the_request_are_not_lost => Case::new(
        [send([ASK, "early"].concat()), Step::UntilHeard("early"), send("late"), Step::UntilHeard("earlylate")],
        Script::of([write(SWITCH), Act::Echo]),
    );
    bytes_that_come_with_the_switch_are_not_lost => Case::new(
        [send(ASK), Step::UntilHeard("welcome"), send("ping"), Step::UntilHeard("welcomeping")],
        Script::of([write([SWITCH, "welcome"].concat()), Act::Echo]),
    );
    the_end_of_what_a_client_says_passes => Case::new(
        [send(ASK), Step::UntilHeard("s3pPLM"), send("bye"), Step::UntilHeard("bye"), Step::Shut],
        Script::of([write(SWITCH), Act::Echo]),
    );
    an_app_that_does_not_switch => Case::plain(ASK, OK);
    an_app_that_refuses_to_switch => Case::plain(ASK, "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    another_protocol => Case::new(
        [send("GET /exec HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: SPDY/3.1\r\n\r\n"),
            Step::UntilHeard("SPDY"), send("ping"), Step::UntilHeard("ping")],
        Script::of([write("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\r\n"), Act::Echo]),
    );
    the_upgrade_to_http2_ends_here => without_h2c(Case::plain(ASK_H2C, OK));
    the_upgrade_of_a_post_to_http2_ends_here => without_h2c(Case::plain(
        ASK_H2C.replace("GET /", "POST /").replace("\r\n\r\n", "\r\ncontent-length: 2\r\n\r\nhi"), OK));
    settings_without_an_upgrade_end_here => Case::plain(
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: HTTP2-Settings\r\nhttp2-settings: AAMA\r\n\r\n", OK,
    ).but("RFC 9110, section 7.6.1: fields named in Connection are removed", |want| want.requests_lack("http2-settings"));
    an_upgrade_that_connection_does_not_name => Case::plain(
        "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n", OK,
    ).but("RFC 9110, section 7.8: Upgrade concerns one connection", |want| want.requests_lack("upgrade"));
}
