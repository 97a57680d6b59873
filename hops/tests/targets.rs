//! Request targets pass unchanged.

use ebb_hops::{Case, Want, on_every_path, through_the_hops};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn target(target: impl AsRef<[u8]>) -> Case {
    let parts: [&[u8]; 3] = [b"GET ", target.as_ref(), b" HTTP/1.1\r\nhost: h\r\n\r\n"];
    Case::plain(parts.concat(), OK)
}

fn refused(line: &str) -> Case {
    Case::plain(format!("{line}\r\nhost: h\r\n\r\n"), OK).wants(Want::Refused(&[400]))
}

on_every_path! {
    what_should_be_escaped_and_is_not => target("/a<b>\"c|d");
    braces => target("/{x}?y={z}");
    an_escape_that_is_none => target("/%zz?%");
    escapes_are_let_be => target("/%2F%2f%41?a=%26+b");
    a_path_of_70_kb => target(format!("/{}", "p".repeat(70_000)));
    a_query_of_70_kb => target(format!("/?{}", "q".repeat(70_000)));
    two_slashes_in_front => target("//double");
    two_slashes_within => target("/a//b///");
    dots => target("/a/../b/./c/..");
    two_question_marks => target("/a?b?c");
    an_empty_query => target("/a?");
    brackets_and_carets => target("/[a]^b`c\\d");
    a_colon_in_the_path => target("/http://other/x:y");
    bytes_beyond_ascii => target(b"/caf\xc3\xa9");
    bytes_that_are_no_utf_8 => target(b"/caf\xe9?\xff");
    options_of_everything => Case::plain("OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n", OK);
    // RFC 9112, section 3.2.2: the target's host replaces what the field says.
    the_absolute_form => Case::plain("GET http://h/p?q HTTP/1.1\r\nhost: h\r\n\r\n", OK)
        .but("RFC 9112, section 3.2.1: to an origin server goes the origin form",
            |want| want.request_line_is("GET /p?q HTTP/1.1"));
    the_absolute_form_without_a_path => Case::plain("GET http://h HTTP/1.1\r\nhost: h\r\n\r\n", OK)
        .but("RFC 9112, section 3.2.1: an empty path is /", |want| want.request_line_is("GET / HTTP/1.1"));
    the_absolute_form_with_a_query_alone => Case::plain("GET http://h?q HTTP/1.1\r\nhost: h\r\n\r\n", OK)
        .but("RFC 9112, section 3.2.1: an empty path is /", |want| want.request_line_is("GET /?q HTTP/1.1"));
    the_absolute_form_of_everything => Case::plain("OPTIONS http://h HTTP/1.1\r\nhost: h\r\n\r\n", OK)
        .but("RFC 9112, section 3.2.4: an empty path of OPTIONS is *", |want| want.request_line_is("OPTIONS * HTTP/1.1"));
    the_absolute_form_whose_host_differs => Case::plain("GET http://h/p HTTP/1.1\r\nhost: other\r\n\r\n", OK)
        .but("RFC 9112, section 3.2.2: the target's host replaces the field's", |want| {
            want.request_line_is("GET /p HTTP/1.1");
            want.requests_have("host", "h");
        });
    the_absolute_form_with_a_port => Case::plain("GET http://h:8080/<p> HTTP/1.1\r\nhost: x\r\n\r\n", OK)
        .but("RFC 9112, section 3.2.2: the target's host replaces the field's", |want| {
            want.request_line_is("GET /<p> HTTP/1.1");
            want.requests_have("host", "h:8080");
        });
    a_host_with_a_port => Case::plain("GET / HTTP/1.1\r\nhost: shop.example:8443\r\n\r\n", OK);
    a_host_of_ipv6 => Case::plain("GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", OK);
    a_host_with_an_underscore => Case::plain("GET / HTTP/1.1\r\nhost: my_service\r\n\r\n", OK);
    an_empty_host => Case::plain("GET / HTTP/1.1\r\nhost:\r\n\r\n", OK);
}

through_the_hops! {
    a_fragment => refused("GET /a#b HTTP/1.1");
    a_target_without_a_slash => refused("GET a HTTP/1.1");
    a_star_that_is_not_of_options => refused("GET * HTTP/1.1");
    a_control_character => refused("GET /a\u{1}b HTTP/1.1");
    a_delete_character => refused("GET /a\u{7f}b HTTP/1.1");
    a_space => refused("GET /a b HTTP/1.1");
    no_target => refused("GET HTTP/1.1");
    a_tunnel => Case::plain("CONNECT h:443 HTTP/1.1\r\nhost: h:443\r\n\r\n", OK).wants(Want::Refused(&[400, 405, 501]));
}
