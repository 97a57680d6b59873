//! HTTP/1.1 messages, parsed as strictly as RFC 9112 specifies. Everything that a hop sends must pass.

use std::fmt;

use crate::Text;

/// A header or trailer field: name and value.
pub type Field = (Text, Text);

/// The head of a request or a response.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The request line or the status line.
    pub line: Text,
    /// The fields, in their order and spelling.
    pub fields: Vec<Field>,
}

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Nothing,
    /// The body has this many bytes.
    Length(u64),
    /// The body is chunked.
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.fields.iter().map(|(name, value)| Text([&*name.0, b": ", &*value.0].concat()));
        f.debug_list().entry(&self.line).entries(lines).finish()
    }
}

impl Head {
    /// Parses a head, including the empty line at its end.
    ///
    /// # Errors
    ///
    /// Returns what violates the RFC.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let lines = bytes.strip_suffix(b"\r\n\r\n").ok_or("no empty line at the end")?;
        let mut lines = split_lines(lines)?.into_iter();
        let line = lines.next().ok_or("empty")?;
        let fields = lines.map(field).collect::<Result<_, _>>()?;
        Ok(Self { line: line.into(), fields })
    }

    /// Parses a trailer section, including its empty line.
    ///
    /// # Errors
    ///
    /// Returns what violates the RFC.
    pub fn parse_trailers(bytes: &[u8]) -> Result<Vec<Field>, String> {
        if bytes == b"\r\n" {
            return Ok(Vec::new());
        }
        let lines = bytes.strip_suffix(b"\r\n\r\n").ok_or("no empty line at the end")?;
        split_lines(lines)?.into_iter().map(field).collect()
    }

    /// Returns the values of all fields with that name, in any spelling.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let same = |field: &&Field| field.0.0.eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(same).map(|(_, value)| &*value.0).collect()
    }

    /// Checks the request line and the fields that must occur once, and returns how the body ends.
    ///
    /// # Errors
    ///
    /// Returns what violates the RFC.
    pub fn request_framing(&self) -> Result<Framing, String> {
        let parts: Vec<&[u8]> = self.line.0.split(|byte| *byte == b' ').collect();
        let [method, target, version] = parts[..] else {
            return Err(format!("no request line: {:?}", self.line));
        };
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
            return Err(format!("no method: {:?}", self.line));
        }
        if target.is_empty() || !target.iter().all(|byte| (0x21..=0x7e).contains(byte) || *byte >= 0x80) {
            return Err(format!("no target: {:?}", self.line));
        }
        match version {
            b"HTTP/1.1" if self.all("host").len() != 1 => Err("want one Host".into()),
            b"HTTP/1.0" if !self.all("transfer-encoding").is_empty() => Err("chunks in HTTP/1.0".into()),
            b"HTTP/1.0" | b"HTTP/1.1" => Ok(self.framing()?.unwrap_or(Framing::Nothing)),
            other => Err(format!("no version: {:?}", Text::from(other))),
        }
    }

    /// Returns the status of a response.
    ///
    /// # Errors
    ///
    /// Returns what in the status line violates the RFC.
    pub fn status(&self) -> Result<u16, String> {
        let line = &self.line.0;
        let rest = line.strip_prefix(b"HTTP/1.1 ").or(line.strip_prefix(b"HTTP/1.0 "));
        rest.filter(|rest| rest.len() >= 4 && rest[3] == b' ' && rest[0] != b'0')
            .and_then(|rest| digits(&rest[..3]))
            .and_then(|status| u16::try_from(status).ok())
            .ok_or_else(|| format!("no status line: {:?}", self.line))
    }

    /// Returns how the body of this response ends; `to_head` says that it answers a HEAD.
    ///
    /// # Errors
    ///
    /// Returns what violates the RFC.
    pub fn answer_framing(&self, to_head: bool) -> Result<Framing, String> {
        let status = self.status()?;
        let framing = self.framing()?;
        if matches!(status, 100..200 | 204) && framing.is_some() {
            return Err(format!("a length in a {status}"));
        }
        Ok(if to_head || matches!(status, 100..200 | 204 | 304) {
            Framing::Nothing
        } else {
            framing.unwrap_or(Framing::UntilClose)
        })
    }

    fn framing(&self) -> Result<Option<Framing>, String> {
        match (&self.all("content-length")[..], &self.all("transfer-encoding")[..]) {
            ([], []) => Ok(None),
            ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
            ([length], []) => {
                let length = digits(length).ok_or_else(|| format!("no length: {:?}", Text::from(*length)))?;
                Ok(Some(Framing::Length(length)))
            }
            (lengths, codings) => {
                Err(format!("{} Content-Length, {} Transfer-Encoding", lengths.len(), codings.len()))
            }
        }
    }
}

/// Parses the line before a chunk, including its line end. Returns the number of bytes that follow.
///
/// # Errors
///
/// Returns what violates the RFC.
pub fn chunk_size(line: &[u8]) -> Result<u64, String> {
    let text = line.strip_suffix(b"\r\n").ok_or("no line end")?;
    let extended = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
    let size = &text[..extended];
    let plain = !size.is_empty() && size.len() <= 16 && size.iter().all(u8::is_ascii_hexdigit);
    let clean = !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    (plain && clean)
        .then(|| size.iter().fold(0, |sum, digit| sum * 16 + u64::from(hex(*digit))))
        .ok_or_else(|| format!("no chunk size: {:?}", Text::from(line)))
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    let plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// Returns the lines without their ends; CR, LF and NUL must not occur elsewhere.
fn split_lines(bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    match lines.iter().find(|line| line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))) {
        Some(line) => Err(format!("CR, LF or NUL in {:?}", Text::from(*line))),
        None => Ok(lines),
    }
}

fn field(line: &[u8]) -> Result<Field, String> {
    let wrong = |what: &str| format!("{what}: {:?}", Text::from(line));
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(|| wrong("no colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(wrong("no field name"));
    }
    if !value.iter().all(|byte| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f) {
        return Err(wrong("a control character"));
    }
    let value = value.trim_ascii_start().trim_ascii_end();
    Ok((name.into(), value.into()))
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_takes_what_is_right_and_nothing_else() {
        let request = |lines: &str| {
            let head = Head::parse(format!("{lines}\r\n\r\n").as_bytes())?;
            head.request_framing()
        };
        assert_eq!(request("GET / HTTP/1.1\r\nHost: a"), Ok(Framing::Nothing));
        assert_eq!(request("POST /\u{e9} HTTP/1.1\r\nHost: \r\nContent-Length: 3"), Ok(Framing::Length(3)));
        assert_eq!(request("POST / HTTP/1.1\r\nHost:a\r\nTransfer-Encoding: Chunked"), Ok(Framing::Chunked));
        for wrong in [
            "GET / HTTP/1.1",
            "GET  / HTTP/1.1\r\nHost: a",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a",
            "GET / HTTP/1.1\r\nHost: a\r\n folded: b",
            "GET / HTTP/1.1\r\nHost : a",
            "GET / HTTP/1.1\nHost: a",
            "GET / HTTP/1.1\r\nHost: a\rb",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity",
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked",
        ] {
            assert!(request(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn chunk_sizes_are_plain_hexadecimal() {
        assert_eq!(chunk_size(b"1aF;x=y\r\n"), Ok(0x1af));
        for wrong in [&b"\r\n"[..], b"0x5\r\n", b"+5\r\n", b"5\n", b"5 \r\n", b"11111111111111111\r\n"] {
            assert!(chunk_size(wrong).is_err(), "{:?}", Text::from(wrong));
        }
    }
}
