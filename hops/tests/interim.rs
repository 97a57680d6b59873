//! Interim responses reach the client as the app sends them.

use ebb_hops::{
    Case, Observed, Run, Step, Want,
    app::{Act, Script, write},
    on_every_path, through_the_hops,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const STYLE: &str = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload; as=style\r\n\r\n";
const SCRIPT: &str =
    "HTTP/1.1 103 Early Hints\r\nlink: </app.js>; rel=preload; as=script\r\nlink: </b.js>\r\n\r\n";

fn only_the_answer(observed: &Observed, _: &Run) {
    assert_eq!(observed.answer.interim, [], "HTTP/1.0 has no informational answers");
    assert_eq!((observed.answer.status, &*observed.answer.body.0), (200, &b"ok"[..]));
}

on_every_path! {
    early_hints_come_before_the_answer => Case::new(
        [Step::Send(GET.to_vec()), Step::UntilHeard("style.css"), Step::Tell, Step::UntilHeard("app.js"), Step::Tell],
        Script::of([write(STYLE), Act::UntilTold(1), write(SCRIPT), Act::UntilTold(2), write(OK)]),
    );
    hints_and_answer_in_one_piece => Case::plain(GET, [STYLE, SCRIPT, OK].concat());
    a_102_comes_while_the_app_works => Case::new(
        [Step::Send(GET.to_vec()), Step::UntilHeard("102"), Step::Tell],
        Script::of([write("HTTP/1.1 102 Processing\r\n\r\n"), Act::UntilTold(1), write(OK)]),
    );
    hints_to_a_post_that_is_still_being_sent => Case::new(
        [
            Step::Send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe".to_vec()),
            Step::UntilHeard("style.css"),
            Step::Send(b"llo".to_vec()),
        ],
        Script::of([write(STYLE), Act::Read, write(OK)]),
    );
    hints_before_an_answer_without_a_body =>
        Case::plain(GET, [STYLE, "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n"].concat());
    hints_before_the_answer_to_a_head => Case::plain(
        "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n", [STYLE, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"].concat());
}

through_the_hops! {
    // RFC 9110, section 15.2: a server must not send them to an HTTP/1.0 client.
    a_client_of_http_1_0_gets_none =>
        Case::plain("GET / HTTP/1.0\r\nhost: a\r\n\r\n", [STYLE, OK].concat()).wants(Want::Judged(only_the_answer));
}
