//! Valid requests with random faults: the app receives exactly what the hop has answered, and nothing ambiguous.

use std::cell::RefCell;

use ebb_hops::{Path, Text};
use ebb_properties::hop::Way;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};

const REQUESTS: [&str; 7] = [
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET /a?b HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n",
    "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
    "POST /c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nyou\r\n0\r\n\r\n",
    "PUT /t HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n",
    "POST /s HTTP/1.1\r\nhost: a\r\ncontent-length: 37\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: b\r\n\r\nxyz",
    "DELETE http://a/d HTTP/1.1\r\nhost: a\r\nx-long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
];

/// Pieces that attackers use.
const PIECES: [&str; 32] = [
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    " ",
    "\t",
    "\0",
    "\x0b",
    ":",
    ";",
    ",",
    "+",
    "-",
    "0x",
    "0",
    "5",
    "f",
    "#",
    "%00",
    "\r\n ",
    "\n\n",
    "chunked",
    "identity",
    "HTTP/1.0",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Host: b\r\n",
    "Connection: content-length\r\n",
    "Expect: 100-continue\r\n",
    "GET /x HTTP/1.1\r\nhost: a\r\n\r\n",
];

/// One change of the bytes of some requests.
#[derive(Clone, Debug)]
enum Fault {
    Insert(Index, &'static str),
    Byte(Index, u8),
    Remove(Index, usize),
    Double(Index, usize),
}

impl Fault {
    fn into(self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Insert(at, piece) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, piece.bytes());
            }
            Self::Byte(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Self::Remove(at, length) => {
                let at = at.index(bytes.len());
                let end = (at + length).min(bytes.len());
                bytes.drain(at..end);
            }
            Self::Double(at, length) => {
                let at = at.index(bytes.len());
                let end = (at + length).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => (any::<Index>(), select(&PIECES[..])).prop_map(|(at, piece)| Fault::Insert(at, piece)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Fault::Byte(at, byte)),
        2 => (any::<Index>(), 1usize..20).prop_map(|(at, length)| Fault::Remove(at, length)),
        1 => (any::<Index>(), 1usize..40).prop_map(|(at, length)| Fault::Double(at, length)),
    ]
}

fn hostile() -> impl Strategy<Value = Text> {
    (vec(select(&REQUESTS[..]), 1..4), vec(fault(), 1..4)).prop_map(|(requests, faults)| {
        let mut bytes = requests.concat().into_bytes();
        for fault in faults {
            fault.into(&mut bytes);
        }
        Text(bytes)
    })
}

/// Runs cases on one path. Each has its own connection to the hop; the hop keeps its connections to the app.
fn never_in_doubt(path: Path, cases: u32) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let way = RefCell::new(Way::new(path));
    let ran = TestRunner::new(config).run(&hostile(), |bytes| {
        way.borrow_mut().hold(&bytes.0);
        Ok(())
    });
    if let Err(error) = ran {
        panic!("{path:?}: {error}");
    }
}

#[test]
fn what_passes_the_sidecar_is_never_in_doubt() {
    never_in_doubt(Path::Sidecar, 3000);
}

#[test]
fn what_passes_both_is_never_in_doubt() {
    never_in_doubt(Path::Both, 1000);
}
