//! Parses and writes heads: the first line and the fields of a message.

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request,
    response,
};
use httparse::{EMPTY_HEADER, Header, ParserConfig, Status};

use super::{
    fault::Fault,
    spelling::{Spelling, write_fields},
};
use crate::interim::Interims;

/// Maximum number of bytes in one head, as in the reference's proxies.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;
/// Maximum number of fields in one head. Each field costs some hundred bytes while it is kept, however short it is.
pub(crate) const MAX_FIELDS: usize = 10_000;
/// Number of fields that suffices for most heads; heads with more are parsed a second time.
const USUAL_FIELDS: usize = 64;

/// The parts of a request's head that `http`'s types cannot hold. They are in one value, because each extension costs
/// allocations.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The target as its client wrote it, which `http::Uri` may not be able to hold.
    target: Bytes,
    spelling: Spelling,
    /// The channel for its interim responses, if its client accepts any.
    pub(super) interims: Option<Interims>,
}

/// The same for the head of a response.
#[derive(Clone, Debug)]
struct Answered {
    /// The reason phrase of the app, if it is not the usual one.
    phrase: Option<Bytes>,
    spelling: Spelling,
}

/// Returns where the head at the beginning of `bytes` ends. Bytes before `scanned` are not scanned again.
pub(super) fn end(bytes: &[u8], scanned: usize) -> Option<usize> {
    // The last line end may have been scanned only in part.
    let from = scanned.saturating_sub(3);
    memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Parses the head of a request. Its interim responses go to `interims` if its version has them.
///
/// # Errors
///
/// Returns a fault if no hop may pass the request on.
pub(crate) fn request(head: &Bytes, interims: &Interims) -> Result<Request<()>, Fault> {
    let line_end = refuse_bare_lines(head)?;
    let line = &head[..line_end];
    let malformed = || Fault::malformed("the request line is not METHOD TARGET HTTP/1.1");
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed());
    };
    let method = Method::from_bytes(method).map_err(|_| malformed())?;
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Fault {
                status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                reason: "version",
                text: "want HTTP/1.1, HTTP/1.0, or HTTP/2 with prior knowledge".into(),
            });
        }
        _ => return Err(malformed()),
    };
    let target = head.slice_ref(target);
    check_target(&method, &target)?;
    let (fields, spelling) = request_fields(head, line_end + 2)?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.version_mut() = version;
    *request.headers_mut() = fields;
    // Ebb's own ports use the `Uri`, and only know targets that it can hold.
    *request.uri_mut() = Uri::from_maybe_shared(target.clone()).unwrap_or_default();
    let interims = (version >= Version::HTTP_11).then(|| interims.clone());
    request.extensions_mut().insert(Asked { target, spelling, interims });
    Ok(request)
}

/// Refuses a bare CR or LF: some parsers end a line there, others do not. Returns where the first line ends.
fn refuse_bare_lines(head: &[u8]) -> Result<usize, Fault> {
    let mut first = None;
    for at in memchr::memchr_iter(b'\n', head) {
        if at == 0 || head[at - 1] != b'\r' {
            return Err(Fault::malformed("a line does not end with CR LF"));
        }
        first = first.or(Some(at - 1));
    }
    first.ok_or_else(|| Fault::malformed("there is no line"))
}

fn check_target(method: &Method, target: &[u8]) -> Result<(), Fault> {
    if !target.iter().all(|byte| matches!(byte, b'!'..=b'~' | 0x80..)) {
        return Err(Fault::malformed("the target has control characters"));
    }
    if target.contains(&b'#') {
        return Err(Fault::malformed("the target has a fragment, which must not be sent"));
    }
    let is_any = *method == Method::OPTIONS && target == b"*";
    let is_tunnel = *method == Method::CONNECT;
    if target.starts_with(b"/") || authority(target).is_some() || is_any || is_tunnel {
        Ok(())
    } else {
        Err(Fault::malformed("the target is neither a path nor http://HOST/PATH"))
    }
}

/// Returns the host and the rest of a target in absolute form (RFC 9112, section 3.2.2).
fn authority(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let scheme = target.windows(3).position(|three| three == b"://")?;
    if !target[..scheme].eq_ignore_ascii_case(b"http") && !target[..scheme].eq_ignore_ascii_case(b"https") {
        return None;
    }
    let rest = &target[scheme + 3..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    (!authority.is_empty()).then_some((authority, path))
}

/// Converts `GET http://host/path` to `GET /path` with `Host: host`.
pub(crate) fn to_origin_form(request: &mut request::Parts) {
    let Some(asked) = request.extensions.get_mut::<Asked>() else { return };
    let Some((authority, path)) = authority(&asked.target) else { return };
    // Leave out the user and password that a URL may contain: `Host` has none.
    let host = authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    let Ok(host) = HeaderValue::from_bytes(host) else { return };
    let path = match path {
        [] => Bytes::from_static(if request.method == Method::OPTIONS { b"*" } else { b"/" }),
        [b'?', ..] => Bytes::from([b"/", path].concat()),
        path => asked.target.slice_ref(path),
    };
    request.uri = Uri::from_maybe_shared(path.clone()).unwrap_or_default();
    asked.target = path;
    request.headers.insert(header::HOST, host);
}

/// Returns whether the request's `Uri` holds its whole target, as it was written.
pub(crate) fn is_target_in_uri(request: &request::Parts) -> bool {
    let in_uri = request.uri.path_and_query().map_or("", |path| path.as_str()).as_bytes();
    request.extensions.get::<Asked>().is_none_or(|asked| asked.target == in_uri)
}

/// Returns the path and the query of a request in origin form, as they were written.
pub fn target<B>(request: &Request<B>) -> Bytes {
    let asked = request.extensions().get::<Asked>().map(|asked| asked.target.clone());
    let in_uri = || request.uri().path_and_query().map_or("/", |path| path.as_str());
    asked.unwrap_or_else(|| Bytes::copy_from_slice(in_uri().as_bytes()))
}

/// Returns the channel for interim responses to a request of either version, if its client accepts any.
pub(crate) fn interims(request: &request::Parts) -> Option<Interims> {
    match request.extensions.get::<Asked>() {
        Some(asked) => asked.interims.clone(),
        None => request.extensions.get::<Interims>().cloned(),
    }
}

fn request_fields(head: &Bytes, from: usize) -> Result<(HeaderMap, Spelling), Fault> {
    with_room(|room| match httparse::parse_headers(&head[from..], room) {
        Ok(Status::Complete((_, fields))) => Some(collected(head, fields)),
        Ok(Status::Partial) => Some(Err(Fault::malformed("the head has no end"))),
        Err(httparse::Error::TooManyHeaders) => None,
        Err(error) => Some(Err(Fault::malformed(field_fault(error)))),
    })
}

const fn field_fault(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a field's name has an invalid character",
        httparse::Error::HeaderValue => "a field's value has an invalid character, or is folded",
        _ => "the fields cannot be read",
    }
}

/// Runs `parse` with room for the usual number of fields, and if it returns `None`, again with room for the maximum.
fn with_room<'b, T>(
    mut parse: impl for<'h> FnMut(&'h mut [Header<'b>]) -> Option<Result<T, Fault>>,
) -> Result<T, Fault> {
    parse(&mut [EMPTY_HEADER; USUAL_FIELDS])
        .or_else(|| parse(&mut vec![EMPTY_HEADER; MAX_FIELDS]))
        .unwrap_or_else(|| Err(Fault::too_large(format!("the head has more than {MAX_FIELDS} fields"))))
}

fn collected(head: &Bytes, fields: &[Header<'_>]) -> Result<(HeaderMap, Spelling), Fault> {
    let mut map = HeaderMap::with_capacity(fields.len());
    let mut spelling = Spelling::of(head.clone(), fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| Fault::malformed(field_fault(httparse::Error::HeaderName)))?;
        map.append(name, value(head, field.value)?);
        spelling.push(field.name);
    }
    Ok((map, spelling))
}

/// Returns the value of a field. A folded value of a response becomes one line (RFC 9112, section 5.2).
fn value(head: &Bytes, bytes: &[u8]) -> Result<HeaderValue, Fault> {
    let whole = if bytes.contains(&b'\n') {
        let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        Bytes::from(lines.collect::<Vec<_>>().join(&b' '))
    } else {
        head.slice_ref(bytes)
    };
    HeaderValue::from_maybe_shared(whole)
        .map_err(|_| Fault::malformed(field_fault(httparse::Error::HeaderValue)))
}

/// Parses the trailers of a chunked body and their spelling. Trailers that would change what the head said are left
/// out.
pub(super) fn trailers(section: &Bytes) -> Result<(HeaderMap, Spelling), Fault> {
    refuse_bare_lines(section)?;
    let (mut fields, spelling) = request_fields(section, 0)?;
    for name in [header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::HOST, header::TRAILER] {
        fields.remove(name);
    }
    Ok((fields, spelling))
}

/// Parses the head of a response. Like browsers, it accepts irregularities with only one possible meaning: a folded
/// line, a space before a colon, a bare LF.
///
/// # Errors
///
/// Returns a fault if the head is invalid.
pub(super) fn answer(head: &Bytes) -> Result<Response<()>, Fault> {
    let mut config = ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true);
    with_room(|room| {
        let mut parsed = httparse::Response::new(room);
        match config.parse_response(&mut parsed, head) {
            Ok(Status::Complete(_)) => Some(answer_of(head, &parsed)),
            Ok(Status::Partial) => Some(Err(Fault::malformed("the head has no end"))),
            Err(httparse::Error::TooManyHeaders) => None,
            Err(error @ (httparse::Error::HeaderName | httparse::Error::HeaderValue)) => {
                Some(Err(Fault::malformed(field_fault(error))))
            }
            Err(error) => Some(Err(Fault::malformed(format!("not an HTTP/1 answer: {error}")))),
        }
    })
}

fn answer_of(head: &Bytes, parsed: &httparse::Response<'_, '_>) -> Result<Response<()>, Fault> {
    let code = parsed.code.unwrap_or_default();
    let status = StatusCode::from_u16(code).map_err(|_| Fault::malformed(format!("status {code}")))?;
    let (fields, spelling) = collected(head, parsed.headers)?;
    let mut answer = Response::new(());
    *answer.status_mut() = status;
    *answer.version_mut() = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    *answer.headers_mut() = fields;
    let phrase = phrase(head);
    let is_usual = phrase == status.canonical_reason().unwrap_or_default().as_bytes();
    let phrase = (!is_usual).then(|| head.slice_ref(phrase));
    answer.extensions_mut().insert(Answered { phrase, spelling });
    Ok(answer)
}

/// Returns the reason phrase; `httparse` returns it only if it is ASCII.
fn phrase(head: &[u8]) -> &[u8] {
    let line = head.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let after_version = line.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default().trim_ascii();
    after_version.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default().trim_ascii_start()
}

/// Writes the head of a request without its end, because the fields for the length of the body follow.
pub(super) fn write_request(request: &request::Parts, out: &mut BytesMut) {
    out.put_slice(request.method.as_str().as_bytes());
    out.put_slice(b" ");
    let asked = request.extensions.get::<Asked>();
    match asked {
        Some(asked) => out.put_slice(&asked.target),
        None => out.put_slice(request.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes()),
    }
    out.put_slice(if request.version == Version::HTTP_10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
    write_fields(&request.headers, asked.map(|asked| &asked.spelling), out);
}

/// Writes the head of a response to a client of `version` without its end.
pub(super) fn write_answer(answer: &response::Parts, version: Version, out: &mut BytesMut) {
    let status = answer.status;
    out.put_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.put_slice(status.as_str().as_bytes());
    out.put_slice(b" ");
    let answered = answer.extensions.get::<Answered>();
    match answered.and_then(|answered| answered.phrase.as_ref()) {
        Some(phrase) => out.put_slice(phrase),
        None => out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes()),
    }
    out.put_slice(b"\r\n");
    write_fields(&answer.headers, answered.map(|answered| &answered.spelling), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Request<()>, Fault> {
        request(&Bytes::copy_from_slice(text.as_bytes()), &Interims::default())
    }

    fn rewritten(text: &str) -> String {
        let (parts, ()) = of(text).unwrap().into_parts();
        written(&parts)
    }

    fn written(parts: &request::Parts) -> String {
        let mut out = BytesMut::new();
        write_request(parts, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_it_was_cut() {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nbody\n\n";
        for scanned in 0..27 {
            assert_eq!(end(head, scanned), Some(27), "{scanned}");
        }
        assert_eq!(end(&head[..26], 0), None);
        assert_eq!(end(b"GET / HTTP/1.1\n\n", 0), Some(16), "so that it is refused and not waited for");
    }

    #[test]
    fn targets_and_names_pass_as_they_came() {
        for text in [
            "GET /a<b>\"c|d HTTP/1.1\r\nHost: a\r\n",
            "GET /{x}?y=%zz HTTP/1.1\r\nHost: a\r\nX-CamelCase: 1\r\nx-lower: 2\r\n",
            "GET //double HTTP/1.1\r\nHost: a\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n",
            "M-SEARCH /a?b?c HTTP/1.0\r\n",
        ] {
            assert_eq!(rewritten(&format!("{text}\r\n")), text);
        }
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n", "x".repeat(70_000));
        assert_eq!(rewritten(&format!("{long}\r\n")), long);
    }

    #[test]
    fn values_keep_bytes_that_are_not_ascii() {
        let head = Bytes::from_static(b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xe9 \r\n\r\n");
        assert_eq!(request(&head, &Interims::default()).unwrap().headers()["x"].as_bytes(), b"caf\xe9");
    }

    #[test]
    fn a_target_with_a_host_becomes_a_path_and_a_host() {
        for (target, path, host) in [
            ("http://a.example:8080/x?y=1", "/x?y=1", "a.example:8080"),
            ("HTTP://me:secret@a.example/<x>", "/<x>", "a.example"),
            ("http://a.example", "/", "a.example"),
            ("http://a.example?q", "/?q", "a.example"),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: other\r\n\r\n");
            let (mut parts, ()) = of(&text).unwrap().into_parts();
            to_origin_form(&mut parts);
            assert_eq!(written(&parts), format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n"));
        }
        let (mut parts, ()) = of("OPTIONS http://a HTTP/1.1\r\nHost: b\r\n\r\n").unwrap().into_parts();
        to_origin_form(&mut parts);
        assert!(written(&parts).starts_with("OPTIONS * "));
    }

    #[test]
    fn what_no_hop_may_pass_on_is_refused() {
        for (text, status) in [
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\r\nHost: a\r\n\r\n", 400),
            ("G@T / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\nHost: a\n\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
            ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
            ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        ] {
            let fault = of(text).expect_err(text);
            assert_eq!(fault.status.as_u16(), status, "{text:?}: {fault}");
        }
    }

    #[test]
    fn as_many_fields_pass_as_are_allowed_and_no_more() {
        let with = |count: usize| {
            let fields = (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect::<Vec<_>>().concat();
            of(&format!("GET / HTTP/1.1\r\n{fields}\r\n"))
        };
        assert_eq!(with(300).unwrap().headers().len(), 300);
        assert_eq!(with(MAX_FIELDS).unwrap().headers().len(), MAX_FIELDS);
        assert_eq!(with(MAX_FIELDS + 1).unwrap_err().status.as_u16(), 431);
    }

    #[test]
    fn an_odd_answer_is_repaired_or_refused() {
        let of = |text: &str| answer(&Bytes::copy_from_slice(text.as_bytes()));
        let odd = of("HTTP/1.1  200 \nX-Folded: one\r\n\ttwo\r\nX-Space : 1\r\n\r\n").unwrap();
        assert_eq!(
            (&odd.headers()["x-folded"], &odd.headers()["x-space"]),
            (&"one two".parse().unwrap(), &"1".parse().unwrap())
        );
        assert_eq!(of("HTTP/1.1 200\r\n\r\n").unwrap().status(), StatusCode::OK);
        let phrase = "HTTP/1.1 200 Fine By Me\r\nETag: 1\r\n";
        let mut out = BytesMut::new();
        write_answer(&of(&format!("{phrase}\r\n")).unwrap().into_parts().0, Version::HTTP_11, &mut out);
        assert_eq!(out, phrase);
        for text in [
            "http/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX\r\n\r\n",
            "garbage\r\n\r\n",
        ] {
            assert!(of(text).is_err(), "{text:?}");
        }
    }
}
