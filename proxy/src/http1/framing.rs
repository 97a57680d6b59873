//! Where the body of a message ends (RFC 9112, section 6.3).

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};

use super::fault::Fault;

/// The length of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Length {
    /// There is no body.
    #[default]
    Nothing,
    /// This many bytes.
    Exactly(u64),
    /// The chunked coding marks the end.
    Chunked,
    /// Until the connection is closed.
    UntilClose,
}

/// Returns the length of the body of a request.
///
/// # Errors
///
/// Returns a fault if two hops could understand it differently.
pub(super) fn of_request(version: Version, fields: &HeaderMap) -> Result<Length, Fault> {
    let declared = content_length(fields)?;
    if !fields.contains_key(header::TRANSFER_ENCODING) {
        return Ok(declared.map_or(Length::Nothing, Length::Exactly));
    }
    if declared.is_some() {
        return Err(Fault::framing("Content-Length beside Transfer-Encoding; want one of them"));
    }
    if version < Version::HTTP_11 {
        return Err(Fault::framing("Transfer-Encoding in HTTP/1.0, which has none"));
    }
    let codings = codings(fields);
    match &*codings {
        [only] if only.eq_ignore_ascii_case(b"chunked") => Ok(Length::Chunked),
        [before @ .., last]
            if last.eq_ignore_ascii_case(b"chunked")
                && !before.iter().any(|coding| coding.eq_ignore_ascii_case(b"chunked")) =>
        {
            Err(Fault {
                status: StatusCode::NOT_IMPLEMENTED,
                reason: "transfer-coding",
                text: "only the transfer coding chunked is supported".into(),
            })
        }
        _ => Err(Fault::framing("Transfer-Encoding does not end with chunked, once")),
    }
}

/// Returns the length of the body of the response to a `method` request.
///
/// # Errors
///
/// Returns a fault if the lengths contradict each other.
pub(super) fn of_answer(method: &Method, status: StatusCode, fields: &HeaderMap) -> Result<Length, Fault> {
    if *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        return Ok(Length::Nothing);
    }
    if fields.contains_key(header::TRANSFER_ENCODING) {
        let codings = codings(fields);
        return match &*codings {
            [only] if only.eq_ignore_ascii_case(b"chunked") => Ok(Length::Chunked),
            [only] if only.eq_ignore_ascii_case(b"identity") => Ok(Length::UntilClose),
            _ => Err(Fault::framing("a transfer coding other than chunked, which was not requested")),
        };
    }
    Ok(content_length(fields)?.map_or(Length::UntilClose, |length| match length {
        0 => Length::Nothing,
        more => Length::Exactly(more),
    }))
}

/// Removes repeated lengths except one, because the next reader may use another one.
pub(super) fn say_length_once(fields: &mut HeaderMap) {
    let mut lines = fields.get_all(header::CONTENT_LENGTH).iter();
    let (first, second) = (lines.next(), lines.next());
    let again = second.is_some() || first.is_some_and(|line| line.as_bytes().contains(&b','));
    if again && let Ok(Some(length)) = content_length(fields) {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Returns the declared length. If it is repeated, all values must be equal.
fn content_length(fields: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut declared = None;
    for line in fields.get_all(header::CONTENT_LENGTH) {
        for member in line.as_bytes().split(|byte| *byte == b',') {
            let length = digits(member.trim_ascii())
                .ok_or_else(|| Fault::framing(format!("Content-Length is {line:?}; want decimal digits")))?;
            if declared.is_some_and(|before| before != length) {
                return Err(Fault::framing("two Content-Lengths that differ"));
            }
            declared = Some(length);
        }
    }
    Ok(declared)
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn codings(fields: &HeaderMap) -> Vec<&[u8]> {
    let lines = fields.get_all(header::TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut fields = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            fields.append(name, value);
        }
        fields
    }

    const CL: &str = "content-length";
    const TE: &str = "transfer-encoding";

    #[test]
    fn a_request_has_one_clear_length_or_is_refused() {
        for (lines, want) in [
            (&[][..], Some(Length::Nothing)),
            (&[(CL, "5")], Some(Length::Exactly(5))),
            (&[(CL, "0")], Some(Length::Exactly(0))),
            (&[(CL, "5, 5")], Some(Length::Exactly(5))),
            (&[(CL, "5"), (CL, "5")], Some(Length::Exactly(5))),
            (&[(TE, "chunked")], Some(Length::Chunked)),
            (&[(TE, "Chunked")], Some(Length::Chunked)),
            (&[(CL, "5"), (CL, "6")], None),
            (&[(CL, "5, 6")], None),
            (&[(CL, "+5")], None),
            (&[(CL, "-5")], None),
            (&[(CL, "")], None),
            (&[(CL, "5,")], None),
            (&[(CL, "0x5")], None),
            (&[(CL, "18446744073709551616")], None),
            (&[(CL, "5"), (TE, "chunked")], None),
            (&[(TE, "xchunked")], None),
            (&[(TE, "chunked, identity")], None),
            (&[(TE, "chunked"), (TE, "chunked")], None),
            (&[(TE, "gzip, chunked")], None),
            (&[(TE, "")], None),
        ] {
            assert_eq!(of_request(Version::HTTP_11, &fields(lines)).ok(), want, "{lines:?}");
        }
        assert!(of_request(Version::HTTP_10, &fields(&[(TE, "chunked")])).is_err());
    }

    #[test]
    fn a_length_that_is_said_twice_is_passed_on_once() {
        for (lines, want) in [
            (&[(CL, "5, 5")][..], &["5"][..]),
            (&[(CL, "5"), (CL, "5")], &["5"]),
            (&[(CL, "5")], &["5"]),
            (&[], &[]),
        ] {
            let mut fields = fields(lines);
            say_length_once(&mut fields);
            let said: Vec<_> = fields.get_all(CL).iter().map(|line| line.to_str().unwrap()).collect();
            assert_eq!(said, want);
        }
    }

    #[test]
    fn an_answer_is_as_long_as_it_says_or_as_its_connection() {
        let ok = |lines: &[(&'static str, &'static str)]| {
            of_answer(&Method::GET, StatusCode::OK, &fields(lines)).ok()
        };
        assert_eq!(ok(&[]), Some(Length::UntilClose));
        assert_eq!(ok(&[(CL, "7")]), Some(Length::Exactly(7)));
        assert_eq!(ok(&[(CL, "0")]), Some(Length::Nothing));
        assert_eq!(ok(&[(CL, "7"), (TE, "chunked")]), Some(Length::Chunked), "chunks overrule a length");
        assert_eq!(ok(&[(TE, "gzip, chunked")]), None);
        assert_eq!(ok(&[(CL, "7"), (CL, "8")]), None);
        for (method, status) in
            [(Method::HEAD, 200), (Method::GET, 204), (Method::GET, 304), (Method::GET, 101)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(of_answer(&method, status, &fields(&[(CL, "7")])), Ok(Length::Nothing));
        }
    }
}
