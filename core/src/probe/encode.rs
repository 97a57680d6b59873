//! Encodes probes, byte for byte as the reference does.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

use super::Probe;

impl Probe {
    /// Returns the probe as a JSON object.
    pub fn encode(&self) -> String {
        encode(self)
    }

    /// Returns the probes as a JSON array, with one element for each container and `null` for a container without a
    /// probe. Returns `None` without containers, because readers refuse an empty array.
    pub fn encode_multiple(probes: &[Option<Self>]) -> Option<String> {
        (!probes.is_empty()).then(|| encode(probes))
    }
}

fn encode(value: &(impl Serialize + ?Sized)) -> String {
    let mut text = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut text, EscapesForHtml))
        .expect("a probe's keys are text, its numbers whole, and memory takes what is written");
    String::from_utf8(text).expect("serde_json writes whole characters, and so do we")
}

/// Returns whether a number has its default and is omitted.
pub(super) fn is_unset<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Escapes characters that could end a script in a web page, as the reference's encoder does.
struct EscapesForHtml;

const ESCAPED: [char; 5] = ['<', '>', '&', '\u{2028}', '\u{2029}'];

impl Formatter for EscapesForHtml {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for piece in fragment.split_inclusive(ESCAPED) {
            match piece.chars().next_back().filter(|last| ESCAPED.contains(last)) {
                Some(last) => {
                    let before = &piece[..piece.len() - last.len_utf8()];
                    write!(writer, "{before}\\u{:04x}", u32::from(last))?;
                }
                None => writer.write_all(piece.as_bytes())?,
            }
        }
        Ok(())
    }
}
