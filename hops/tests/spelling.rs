//! The names, values and order of fields are preserved.

use ebb_hops::{Case, on_every_path};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

on_every_path! {
    names_of_a_request_keep_their_case => Case::plain(
        "POST / HTTP/1.1\r\nHost: a\r\nX-CamelCase: 1\r\nx-lower: 2\r\nX-UPPER: 3\r\nETag: \"x\"\r\n\
         SOAPAction: y\r\nContent-Length: 2\r\nUser-Agent: z\r\n\r\nhi", OK);
    names_of_an_answer_keep_their_case => Case::plain(
        GET, "HTTP/1.1 200 OK\r\nX-CamelCase: 1\r\nETag: \"x\"\r\nWWW-Authenticate: Basic\r\nx-lower: 2\r\n\
         Content-Length: 2\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nX-XSS-Protection: 0\r\n\r\nok");
    names_of_hints_keep_their_case =>
        Case::plain(GET, format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-CamelCase: 1\r\n\r\n{OK}"));
    equal_names_of_a_request_keep_their_order_and_each_its_case => Case::plain(
        "GET / HTTP/1.1\r\nhost: a\r\nX-A: 1\r\nx-b: 1\r\nx-a: 2\r\nX-a: 3\r\ncookie: a=1\r\ncookie: b=2\r\n\r\n", OK);
    equal_names_of_an_answer_keep_their_order_and_each_its_case => Case::plain(
        GET, "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nx-b: 1\r\nset-cookie: b=2\r\nSet-Cookie: c=3\r\n\
         content-length: 2\r\n\r\nok");
    bytes_beyond_ascii_in_values_of_a_request =>
        Case::plain(b"GET / HTTP/1.1\r\nhost: a\r\nx-name: caf\xe9 \xe2\x82\xac\xff\x80\r\n\r\n", OK);
    bytes_beyond_ascii_in_values_of_an_answer => Case::plain(
        GET, b"HTTP/1.1 200 OK\r\ncontent-disposition: attachment; filename=\"caf\xe9\x80\xff\"\r\ncontent-length: 2\r\n\r\nok");
    bytes_beyond_ascii_in_the_forwarded_address =>
        Case::plain(b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: caf\xe9, 10.0.0.1\r\n\r\n", OK);
    several_lines_of_forwarded_addresses => Case::plain(
        "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.0.0.1, 10.0.0.2\r\nX-Forwarded-For: 10.0.0.3\r\n\r\n", OK);
    other_forwarding_headers_are_let_be => Case::plain(
        "GET / HTTP/1.1\r\nhost: a\r\nforwarded: for=10.0.0.1\r\nx-forwarded-proto: https\r\nx-forwarded-host: b\r\n\
         x-real-ip: 10.0.0.1\r\nvia: 1.1 lb\r\n\r\n", OK);
    an_empty_value => Case::plain("GET / HTTP/1.1\r\nhost: a\r\nx-empty:\r\nx-space:  \r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-empty:\r\ncontent-length: 2\r\n\r\nok");
    a_tab_within_a_value => Case::plain("GET / HTTP/1.1\r\nhost: a\r\nx-tab: a\tb\r\n\r\n", OK);
    odd_but_valid_names => Case::plain("GET / HTTP/1.1\r\nhost: a\r\nx_under: 1\r\nx.dot: 2\r\n!#$%&'*+^`|~1: 3\r\n\r\n", OK);
    the_reason_phrase_is_the_apps => Case::plain(GET, "HTTP/1.1 200 All is well\r\ncontent-length: 2\r\n\r\nok");
    a_reason_phrase_beyond_ascii => Case::plain(GET, b"HTTP/1.1 404 Pas trouv\xe9\r\ncontent-length: 2\r\n\r\nno");
    a_date_of_the_apps_own_stays => Case::plain(
        GET, "HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\nserver: mine\r\ncontent-length: 2\r\n\r\nok");
    what_a_client_names_in_connection_ends_here => Case::plain(
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: x-mine, close\r\nx-mine: 1\r\nx-other: 2\r\n\r\n", OK,
    ).but("RFC 9110, section 7.6.1: fields named in Connection are removed", |want| want.requests_lack("x-mine"));
    what_an_app_names_in_connection_ends_here => Case::plain(
        GET, "HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nx-mine: 1\r\nx-other: 2\r\ncontent-length: 2\r\n\r\nok",
    ).but("RFC 9110, section 7.6.1: fields named in Connection are removed", |want| want.answer_lacks("x-mine"));
    credentials_of_the_client_reach_the_app => Case::plain(
        "GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer x.y.z\r\ncookie: a=b\r\n\r\n", OK);
}
