//! The spelling of the names of fields. Names are case-insensitive, but some clients and apps recognize only one
//! spelling.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};

/// The names of the fields of a head or of trailers, in the order in which they arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spelling {
    head: Bytes,
    names: Vec<Range<u32>>,
}

impl Spelling {
    /// Returns the spelling of fields whose names are slices of `head`.
    pub(super) fn of(head: Bytes, fields: usize) -> Self {
        Self { head, names: Vec::with_capacity(fields) }
    }

    /// Adds the next name.
    pub(super) fn push(&mut self, name: &str) {
        let start = name.as_ptr() as usize - self.head.as_ptr() as usize;
        // This does not overflow: a head has at most a mebibyte.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.names.push(place(start)..place(start + name.len()));
    }

    /// Writes `fields` with their original spelling; new names are in lower case.
    fn write(&self, fields: &HeaderMap, out: &mut BytesMut) {
        // Fields are mostly in their original order: the next name is probably next to the last one.
        let mut next = 0;
        let mut fields = fields.iter().peekable();
        while let Some((name, value)) = fields.next() {
            let lower = name.as_str().as_bytes();
            // All values of a name follow the first one, with the very same name.
            let mut again = || fields.next_if(|(other, _)| std::ptr::eq(*other, name));
            let second = again();
            // The first of several values has the first spelling.
            let from = if second.is_some() { 0 } else { next };
            let mut spelled = self.find(lower, from..self.names.len()).or_else(|| self.find(lower, 0..from));
            next = spelled.map_or(next, |at| at + 1);
            write_field(spelled.map_or(lower, |at| self.name(at)), value, out);
            for (_, value) in second.into_iter().chain(std::iter::from_fn(again)) {
                spelled = spelled.and_then(|at| self.find(lower, at + 1..self.names.len())).or(spelled);
                write_field(spelled.map_or(lower, |at| self.name(at)), value, out);
            }
        }
    }

    fn find(&self, lower: &[u8], mut among: Range<usize>) -> Option<usize> {
        among.find(|at| self.name(*at).eq_ignore_ascii_case(lower))
    }

    fn name(&self, at: usize) -> &[u8] {
        let Range { start, end } = self.names.get(at).cloned().unwrap_or_default();
        self.head.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// Writes `fields` in their `spelling`, or in lower case without one.
pub(super) fn write_fields(fields: &HeaderMap, spelling: Option<&Spelling>, out: &mut BytesMut) {
    match spelling {
        Some(spelling) => spelling.write(fields, out),
        None => {
            for (name, value) in fields {
                write_field(name.as_str().as_bytes(), value, out);
            }
        }
    }
}

pub(super) fn write_field(name: &[u8], value: &HeaderValue, out: &mut BytesMut) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn names_are_written_as_they_came_and_new_ones_in_lower_case() {
        let head = Bytes::from_static(b"ETag X-CamelCase x-lower WWW-Authenticate x-CAMELcase");
        let text = std::str::from_utf8(&head).unwrap();
        let mut spelling = Spelling::of(head.clone(), 5);
        let mut fields = HeaderMap::new();
        for (value, name) in text.split(' ').enumerate() {
            spelling.push(name);
            fields.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from(value));
        }
        fields.append("x-camelcase", HeaderValue::from(9));
        fields.remove("etag");
        fields.insert("x-new", HeaderValue::from(7));
        let mut out = BytesMut::new();
        spelling.write(&fields, &mut out);
        let mut lines: Vec<&str> = std::str::from_utf8(&out).unwrap().lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "WWW-Authenticate: 3",
                "X-CamelCase: 1",
                "x-CAMELcase: 4",
                "x-CAMELcase: 9",
                "x-lower: 2",
                "x-new: 7"
            ]
        );
    }
}
