//! How a response is written: where its body ends, and what happens to the connection.

use bytes::BytesMut;
use http::{HeaderValue, Method, StatusCode, Version, header, response};

use super::After;
use crate::{date, http1::head};

/// The properties of a request that matter for its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) version: Version,
    pub(super) is_head: bool,
    /// Whether its client wants to send more requests on the connection.
    pub(super) more: bool,
}

/// How the end of a response's body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// There is no body.
    Nothing,
    /// The head contains the length.
    Plain,
    Chunked,
    /// The connection is closed.
    UntilClose,
}

impl Asked {
    /// Returns how to write `answer`, whose body has `exact` bytes if that is known. If the server `closes`, the
    /// connection ends.
    pub(super) fn plan(
        &self,
        answer: &mut response::Parts,
        exact: Option<u64>,
        closes: bool,
    ) -> (Encoding, After) {
        let encoding = self.encoding(answer, exact);
        let after =
            if closes || !self.more || encoding == Encoding::UntilClose { After::Close } else { After::Next };
        let connection = match (after, self.version) {
            _ if answer.status == StatusCode::SWITCHING_PROTOCOLS => None,
            (After::Close, _) => Some("close"),
            (After::Next, Version::HTTP_10) => Some("keep-alive"),
            (After::Next, _) => None,
        };
        if let Some(connection) = connection {
            answer.headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
        }
        date::add_missing(&mut answer.headers);
        (encoding, after)
    }

    fn encoding(&self, answer: &mut response::Parts, exact: Option<u64>) -> Encoding {
        let status = answer.status;
        if status.is_informational() || status == StatusCode::NO_CONTENT {
            // These responses have no length, not even 0 (RFC 9110, section 8.6).
            answer.headers.remove(header::CONTENT_LENGTH);
            return Encoding::Nothing;
        }
        let declared = answer.headers.contains_key(header::CONTENT_LENGTH);
        let without = self.is_head || status == StatusCode::NOT_MODIFIED;
        match exact {
            // Without a body, the length of the response to a GET is unknown.
            Some(exact) if !declared && (exact > 0 || !without) => {
                answer.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(exact));
            }
            _ => {}
        }
        if without {
            Encoding::Nothing
        } else if declared || exact.is_some() {
            Encoding::Plain
        } else if self.version >= Version::HTTP_11 {
            answer.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            Encoding::Chunked
        } else {
            Encoding::UntilClose
        }
    }
}

impl Asked {
    /// Returns what a request says about its response.
    pub(super) fn of<B>(request: &http::Request<B>) -> Self {
        let version = request.version();
        let names = |token: &str| crate::forward::names_token(request.headers(), &header::CONNECTION, token);
        let more = if version >= Version::HTTP_11 { !names("close") } else { names("keep-alive") };
        Self { version, is_head: request.method() == Method::HEAD, more }
    }
}

/// Writes a complete head to a client of `version`.
pub(super) fn write(answer: &response::Parts, version: Version, out: &mut BytesMut) {
    head::write_answer(answer, version, out);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn planned(
        asked: &Asked,
        status: u16,
        length: Option<&'static str>,
        exact: Option<u64>,
    ) -> (Encoding, After, Vec<String>) {
        let mut answer = Response::builder().status(status).header(header::DATE, "now");
        if let Some(length) = length {
            answer = answer.header(header::CONTENT_LENGTH, length);
        }
        let (mut parts, ()) = answer.body(()).unwrap().into_parts();
        let (encoding, after) = asked.plan(&mut parts, exact, false);
        parts.headers.remove(header::DATE);
        let lines = parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let mut lines: Vec<String> = lines.collect();
        lines.sort_unstable();
        (encoding, after, lines)
    }

    const GET: Asked = Asked { version: Version::HTTP_11, is_head: false, more: true };

    #[test]
    fn the_end_of_each_answer_is_told_in_a_way_that_its_client_understands() {
        let head = Asked { is_head: true, ..GET };
        let old = Asked { version: Version::HTTP_10, more: false, ..GET };
        let old_more = Asked { more: true, ..old.clone() };
        for (asked, status, length, exact, encoding, after, lines) in [
            (&GET, 200, Some("5"), Some(5), Encoding::Plain, After::Next, &["content-length: 5"][..]),
            (&GET, 200, None, Some(5), Encoding::Plain, After::Next, &["content-length: 5"]),
            (&GET, 200, None, Some(0), Encoding::Plain, After::Next, &["content-length: 0"]),
            (&GET, 200, None, None, Encoding::Chunked, After::Next, &["transfer-encoding: chunked"]),
            (&GET, 204, None, Some(0), Encoding::Nothing, After::Next, &[]),
            (&GET, 204, Some("0"), Some(0), Encoding::Nothing, After::Next, &[]),
            (&GET, 304, Some("5"), Some(0), Encoding::Nothing, After::Next, &["content-length: 5"]),
            (&GET, 304, None, Some(0), Encoding::Nothing, After::Next, &[]),
            (&head, 200, Some("5"), Some(0), Encoding::Nothing, After::Next, &["content-length: 5"]),
            (&head, 200, None, Some(0), Encoding::Nothing, After::Next, &[]),
            (&head, 503, None, Some(7), Encoding::Nothing, After::Next, &["content-length: 7"]),
            (&old, 200, None, None, Encoding::UntilClose, After::Close, &["connection: close"]),
            (&old_more, 200, None, None, Encoding::UntilClose, After::Close, &["connection: close"]),
            (
                &old_more,
                200,
                Some("5"),
                Some(5),
                Encoding::Plain,
                After::Next,
                &["connection: keep-alive", "content-length: 5"],
            ),
        ] {
            let got = planned(asked, status, length, exact);
            assert_eq!((got.0, got.1), (encoding, after), "{asked:?} {status} {length:?} {exact:?}");
            assert_eq!(got.2, lines, "{asked:?} {status} {length:?} {exact:?}");
        }
    }
}
