//! The bytes of stats: those of `collector.json`, and any others.

#![expect(clippy::unwrap_used, reason = "clippy sees the tests, but not the functions that they share")]

use ebb_core::{
    ServiceKey,
    stat::{MAX_STAT_BYTES, Stat, WireStatMessage, WireStatMessages},
};
use ebb_vectors::{Vectors, float};
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;

fn stat_of(row: &Value) -> Stat {
    Stat {
        pod_name: row["pod_name"].as_str().unwrap().to_owned(),
        average_concurrent_requests: float(&row["average_concurrent_requests"]),
        average_proxied_concurrent_requests: float(&row["average_proxied_concurrent_requests"]),
        request_count: float(&row["request_count"]),
        proxied_request_count: float(&row["proxied_request_count"]),
        process_uptime: float(&row["process_uptime"]),
        timestamp: row["timestamp"].as_i64().unwrap(),
    }
}

fn bytes_of(hex: &Value) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.as_str().unwrap().chars().map(|c| c.to_digit(16).unwrap().try_into().unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn messages_of(stat: Stat) -> WireStatMessages {
    WireStatMessages { messages: vec![WireStatMessage::new(&ServiceKey::new("ns", "rev"), stat)] }
}

#[test]
fn vectors_wire_encoding() {
    let vectors = Vectors::load("collector.json");
    let rows = vectors.rows("wire");
    for row in rows {
        let stat = stat_of(row);
        assert_eq!(stat.encode_to_vec(), bytes_of(&row["stat_hex"]), "{row}");
        assert_eq!(messages_of(stat).encode_to_vec(), bytes_of(&row["messages_hex"]), "{row}");
    }
    println!("{} stats compared", rows.len());
}

#[test]
fn vectors_wire_decoding() {
    let vectors = Vectors::load("collector.json");
    let rows = vectors.rows("wire");
    for row in rows {
        // Compared as text, in which not-a-number equals itself.
        let (stat, messages) = (stat_of(row), messages_of(stat_of(row)));
        let decoded = Stat::decode(&*bytes_of(&row["stat_hex"])).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("{stat:?}"), "{row}");
        let decoded = WireStatMessages::decode(&*bytes_of(&row["messages_hex"])).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("{messages:?}"), "{row}");
    }
    println!("{} stats compared", rows.len());
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..2 * MAX_STAT_BYTES)) {
        let _ = Stat::decode(&*bytes);
        let _ = WireStatMessages::decode(&*bytes);
    }

    #[test]
    fn damaged_messages_do_not_make_decoding_panic(at: prop::sample::Index, byte: u8, length: prop::sample::Index) {
        let stat = Stat { pod_name: "pod".to_owned(), request_count: 1.5, timestamp: -1, ..Stat::default() };
        let mut bytes = messages_of(stat).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(length.index(bytes.len() + 1));
        let _ = WireStatMessages::decode(&*bytes);
    }
}
