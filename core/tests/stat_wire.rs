//! The bytes of stats: those of `collector.json`, and any others.

#![expect(clippy::unwrap_used, reason = "clippy sees the tests, but not the functions that they share")]

use ebb_core::{
    ServiceKey,
    stat::{MAX_STAT_BYTES, Stat, WireStatMessage, WireStatMessages},
};
use ebb_properties::stats::hold;
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

/// Numbers of every kind, most of them such as pods report.
fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..1e6,
        1 => prop::num::f64::ANY,
        1 => prop::sample::select(vec![0.0, -0.0, f64::MAX, f64::INFINITY, f64::NAN]),
    ]
}

prop_compose! {
    fn any_stat()(
        pod_name in ".{0,8}",
        numbers in prop::array::uniform5(any_number()),
        timestamp: i64,
    ) -> Stat {
        let [average_concurrent_requests, average_proxied_concurrent_requests, ..] = numbers;
        let [.., request_count, proxied_request_count, process_uptime] = numbers;
        Stat {
            pod_name,
            average_concurrent_requests,
            average_proxied_concurrent_requests,
            request_count,
            proxied_request_count,
            process_uptime,
            timestamp,
        }
    }
}

/// What becomes of bytes on their way.
#[derive(Clone, Debug)]
enum Damage {
    Replaced(prop::sample::Index, u8),
    Inserted(prop::sample::Index, u8),
    Doubled(prop::sample::Index, prop::sample::Index),
    Cut(prop::sample::Index),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Replaced(at, byte)),
        2 => (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Inserted(at, byte)),
        1 => (index(), index()).prop_map(|(from, to)| Damage::Doubled(from, to)),
        1 => index().prop_map(Damage::Cut),
    ]
}

impl Damage {
    fn inflict(&self, bytes: &mut Vec<u8>) {
        let places = bytes.len() + 1;
        match self {
            Self::Replaced(at, byte) => {
                if let Some(replaced) = bytes.get_mut(at.index(places)) {
                    *replaced = *byte;
                }
            }
            Self::Inserted(at, byte) => bytes.insert(at.index(places), *byte),
            Self::Doubled(from, to) => {
                let (from, to) = (from.index(places), to.index(places));
                bytes.extend_from_within(from.min(to)..from.max(to));
            }
            Self::Cut(at) => bytes.truncate(at.index(places)),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_hold_what_is_promised(bytes in prop::collection::vec(any::<u8>(), 0..2 * MAX_STAT_BYTES)) {
        hold(&bytes);
    }

    #[test]
    fn damaged_stats_hold_what_is_promised(
        stat in any_stat(),
        damages in prop::collection::vec(any_damage(), 0..4),
    ) {
        for mut bytes in [stat.encode_to_vec(), messages_of(stat).encode_to_vec()] {
            for damage in &damages {
                damage.inflict(&mut bytes);
            }
            hold(&bytes);
        }
    }
}
