//! The chunked coding (RFC 9112, section 7.1). It is parsed strictly: differences between two parsers are how
//! requests are smuggled.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;

use super::{fault::Fault, head, inbound::PIECE, spelling::Spelling};

/// Maximum length of a chunk's first line: its size, and extensions, which are ignored.
const MAX_LINE: usize = 1024;
/// Maximum length of all trailers together.
const MAX_TRAILERS: usize = 64 * 1024;
/// Chunks smaller than this are joined, because the memory for a body is counted by its bytes, not by its pieces.
const SMALL: usize = 2 * 1024;
/// Maximum length of joined chunks.
const JOINED: usize = 16 * 1024;

/// The next piece of a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap, Box<Spelling>),
    End,
}

/// Decodes one chunked body.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a chunk's first line.
    Size,
    /// Within a chunk of which this many bytes are still to come.
    Data(u64),
    /// Before the line end after a chunk's data.
    DataEnd,
    /// After the last chunk.
    Trailers,
    Ended,
}

impl Decoder {
    pub(super) const fn new() -> Self {
        Self { state: State::Size }
    }

    /// Returns the next piece of what was read, or `None` if more must be read first.
    ///
    /// # Errors
    ///
    /// Returns a fault if the bytes are not a chunked body.
    pub(super) fn decode(&mut self, unread: &mut BytesMut) -> Result<Option<Piece>, Fault> {
        let Some(data) = self.data(unread)? else { return self.end(unread) };
        if data.len() >= SMALL {
            return Ok(Some(Piece::Data(data)));
        }
        let mut joined: Option<BytesMut> = None;
        while joined.as_ref().map_or(0, BytesMut::len) < JOINED {
            // A fault is found again after the data before it was returned.
            let Ok(Some(more)) = self.data(unread) else { break };
            joined.get_or_insert_with(|| BytesMut::from(&*data)).put_slice(&more);
        }
        Ok(Some(Piece::Data(joined.map_or(data, BytesMut::freeze))))
    }

    /// Returns the available data of a chunk, or `None` if there is none yet, or no further chunk.
    fn data(&mut self, unread: &mut BytesMut) -> Result<Option<Bytes>, Fault> {
        loop {
            match self.state {
                State::Size => {
                    let Some(end) = line_end(unread)? else { return Ok(None) };
                    let size = chunk_size(&unread[..end])?;
                    unread.advance(end + 2);
                    self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                }
                State::Data(left) => {
                    let there = usize::try_from(left).unwrap_or(usize::MAX).min(unread.len()).min(PIECE);
                    if there == 0 {
                        return Ok(None);
                    }
                    let left = left - there as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Some(unread.split_to(there).freeze()));
                }
                State::DataEnd => {
                    let there = &unread[..unread.len().min(2)];
                    if !b"\r\n".starts_with(there) {
                        return Err(Fault::framing("a chunk is longer than it says"));
                    }
                    if there.len() < 2 {
                        return Ok(None);
                    }
                    unread.advance(2);
                    self.state = State::Size;
                }
                State::Trailers | State::Ended => return Ok(None),
            }
        }
    }

    /// Returns the trailers, if the chunks have ended.
    fn end(&mut self, unread: &mut BytesMut) -> Result<Option<Piece>, Fault> {
        match self.state {
            State::Ended => Ok(Some(Piece::End)),
            State::Trailers if unread.starts_with(b"\r\n") => {
                unread.advance(2);
                self.state = State::Ended;
                Ok(Some(Piece::End))
            }
            State::Trailers => {
                let Some(end) = head::end(unread, 0) else {
                    return if unread.len() > MAX_TRAILERS {
                        Err(Fault::malformed(format!("the trailers have more than {MAX_TRAILERS} bytes")))
                    } else {
                        Ok(None)
                    };
                };
                let (trailers, spelling) = head::trailers(&unread.split_to(end).freeze())?;
                self.state = State::Ended;
                Ok(Some(if trailers.is_empty() {
                    Piece::End
                } else {
                    Piece::Trailers(trailers, Box::new(spelling))
                }))
            }
            State::Size | State::Data(_) | State::DataEnd => Ok(None),
        }
    }
}

/// Returns where the first line ends, without its line end.
fn line_end(unread: &[u8]) -> Result<Option<usize>, Fault> {
    let window = &unread[..unread.len().min(MAX_LINE)];
    match memchr::memchr(b'\n', window) {
        Some(at) if at > 0 && window[at - 1] == b'\r' => Ok(Some(at - 1)),
        Some(_) => Err(Fault::framing("a chunk's line does not end with CR LF")),
        None if unread.len() >= MAX_LINE => {
            Err(Fault::framing(format!("a chunk's line has more than {MAX_LINE} bytes")))
        }
        None => Ok(None),
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Fault> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    // Whitespace before an extension must be accepted, but must not be sent.
    let extended = size.len() < line.len();
    let size = if extended { size.trim_ascii_end() } else { size };
    let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if size.is_empty() || !size.iter().all(u8::is_ascii_hexdigit) || !line.iter().all(is_text) {
        return Err(Fault::framing("a chunk's size is not a hexadecimal number"));
    }
    let text = std::str::from_utf8(size).unwrap_or_default();
    u64::from_str_radix(text, 16).map_err(|_| Fault::framing("a chunk's size has more than 64 bits"))
}

/// Writes the first line of a chunk of `size` bytes.
pub(super) fn write_size(size: usize, out: &mut BytesMut) {
    use std::fmt::Write as _;
    // Writing to a growing buffer cannot fail.
    let _ = write!(out, "{size:x}\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes all of `bytes`, given in pieces of `step`.
    fn read(bytes: &[u8], step: usize) -> Result<(Vec<u8>, Option<HeaderMap>, usize), Fault> {
        let (mut decoder, mut unread) = (Decoder::new(), BytesMut::new());
        let (mut body, mut trailers, mut rest) = (Vec::new(), None, bytes);
        loop {
            match decoder.decode(&mut unread)? {
                Some(Piece::Data(data)) => body.extend_from_slice(&data),
                Some(Piece::Trailers(fields, _)) => trailers = Some(fields),
                Some(Piece::End) => return Ok((body, trailers, unread.len() + rest.len())),
                None if rest.is_empty() => return Ok((body, trailers, usize::MAX)),
                None => {
                    let (next, later) = rest.split_at(step.min(rest.len()));
                    unread.extend_from_slice(next);
                    rest = later;
                }
            }
        }
    }

    #[test]
    fn a_body_is_read_however_it_is_cut_and_leaves_what_follows() {
        let bytes = b"4\r\nWiki\r\n5 ;x=\"y\"\r\npedia\r\n0\r\nX-Sum: 1\r\n\r\nGET";
        for step in 1..=bytes.len() {
            let (body, trailers, left) = read(bytes, step).unwrap();
            assert_eq!((&*body, left), (&b"Wikipedia"[..], 3), "in steps of {step}");
            assert_eq!(trailers.unwrap()["x-sum"], "1");
        }
        assert_eq!(read(b"0\r\n\r\n", 1).unwrap(), (Vec::new(), None, 0));
    }

    #[test]
    fn small_chunks_that_have_come_are_one_piece() {
        let bytes = [b"1\r\nx\r\n".repeat(100), b"zz".to_vec()].concat();
        let mut unread = BytesMut::from(&*bytes);
        let mut decoder = Decoder::new();
        assert_eq!(decoder.decode(&mut unread), Ok(Some(Piece::Data(Bytes::from(vec![b'x'; 100])))));
        assert_eq!(decoder.decode(&mut unread), Ok(None), "the line has not ended yet");
        unread.extend_from_slice(b"\r\n");
        assert!(decoder.decode(&mut unread).is_err());
        assert!(decoder.decode(&mut unread).is_err(), "and stays wrong");
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        for bytes in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5\r\nhelloX\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"0x5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"\r\n",
            b";x\r\n",
            b"10000000000000000\r\n",
            b"5;\0\r\nhello\r\n",
            b"0\r\nX Y: 1\r\n\r\n",
            b"0\r\nX: 1\n\r\n",
        ] {
            for step in [1, bytes.len()] {
                assert!(read(bytes, step).is_err(), "{}", bytes.escape_ascii());
            }
        }
        assert!(read(&[b"1;".to_vec(), vec![b'x'; MAX_LINE]].concat(), 64).is_err());
        assert!(read(&[b"0\r\nx: ".to_vec(), vec![b'x'; MAX_TRAILERS]].concat(), 4096).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..5000), 0..8), step in 1_usize..6000) {
            let mut out = BytesMut::new();
            for chunk in &chunks {
                write_size(chunk.len(), &mut out);
                out.put_slice(chunk);
                out.put_slice(b"\r\n");
            }
            out.put_slice(b"0\r\n\r\n");
            let (body, trailers, left) = read(&out, step).unwrap();
            prop_assert_eq!((body, trailers, left), (chunks.concat(), None, 0));
        }
    }
}
