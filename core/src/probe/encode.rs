//! Probes to text, byte for byte as the reference writes them.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

use super::Probe;

impl Probe {
    /// The probe as one JSON object.
    pub fn encode(&self) -> String {
        encode(self)
    }

    /// The probes as one JSON array, one for each container; a container without a probe has `null`. `None`
    /// if there is no container at all: an empty array is refused by whoever reads it.
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

/// Whether a number says nothing, so that it is left out.
pub(super) fn is_unset<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// The reference's encoder escapes what could end a script in a web page.
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
