use ebb_vectors::{Vectors, list};
use proptest::{option::of, prelude::*};
use serde_json::Value;

use super::*;

/// Returns the probe of a vector, written as the reference encodes it.
fn probe_of(shown: &Value) -> Option<Probe> {
    Probe::decode(&shown.to_string()).unwrap_or_else(|invalid| panic!("{shown}: {invalid}"))
}

fn probes_of(shown: &Value) -> Vec<Option<Probe>> {
    list(shown).iter().map(probe_of).collect()
}

/// Returns a probe as the vectors show it.
fn shown(probe: Option<&Probe>) -> Value {
    probe.map_or(Value::Null, |probe| serde_json::from_str(&probe.encode()).unwrap())
}

/// Returns the text that a vector expects; empty if there is nothing to encode.
fn encoded_of(row: &Value) -> &str {
    row["encoded"].as_str().unwrap_or_default()
}

#[test]
fn probes_and_their_texts_may_be_absent() {
    assert_eq!(probes_of(&Value::Null), []);
    assert_eq!(probes_of(&serde_json::json!([null])), [None]);
    assert_eq!(encoded_of(&serde_json::json!({"encoded": null})), "");
    assert_eq!(encoded_of(&serde_json::json!({"encoded": "{}"})), "{}");
}

#[test]
fn vectors_probe_encoding_decode() {
    let vectors = Vectors::load("probe_encoding.json");
    let rows = vectors.rows("decode");
    let mut refused = 0;
    for row in rows {
        let input = row["input"].as_str().unwrap();
        let decoded = if row["multi"] == true {
            Probe::decode_multiple(input)
        } else {
            Probe::decode(input).map(|probe| vec![probe])
        };
        let got = decoded.map(|probes| probes.iter().map(|probe| shown(probe.as_ref())).collect::<Vec<_>>());
        match (got, row["ok"] == true) {
            (Ok(got), true) => assert_eq!(got, list(&row["probes"]), "{row}"),
            (Err(_), false) => refused += 1,
            (got, _) => panic!("{row}: {got:?}"),
        }
    }
    println!("{} texts compared, {refused} of them refused", rows.len());
}

#[test]
fn vectors_probe_encoding_encode_single() {
    let vectors = Vectors::load("probe_encoding.json");
    let rows = vectors.rows("encode_single");
    for row in rows {
        // Encoding a missing probe cannot be refused here: the type excludes it.
        let encoded = probe_of(&row["probe"]).map(|probe| probe.encode());
        assert_eq!(encoded.is_some(), row["ok"] == true, "{row}");
        assert_eq!(encoded.unwrap_or_default(), encoded_of(row));
    }
    println!("{} probes compared", rows.len());
}

#[test]
fn vectors_probe_encoding_encode_multiple() {
    let vectors = Vectors::load("probe_encoding.json");
    let rows = vectors.rows("encode_multiple");
    for row in rows {
        let encoded = Probe::encode_multiple(&probes_of(&row["probes"]));
        assert_eq!(encoded.is_some(), row["ok"] == true, "{row}");
        assert_eq!(encoded.unwrap_or_default(), encoded_of(row));
    }
    println!("{} lists compared", rows.len());
}

#[test]
fn what_comes_twice_is_laid_over_what_came_first() {
    let cases = [
        (r#"{"tcpSocket":{"port":1},"TCPSOCKET":{"host":"h"}}"#, r#"{"tcpSocket":{"port":1,"host":"h"}}"#),
        (r#"{"tcpSocket":{"port":1},"tcpSocket":null}"#, "{}"),
        (r#"{"tcpSocket":{"port":"a","port":2}}"#, r#"{"tcpSocket":{"port":2}}"#),
        (r#"{"tcpSocket":{"port":2,"port":null}}"#, r#"{"tcpSocket":{"port":2}}"#),
        (r#"{"exec":{"command":["a","b"],"command":[null]}}"#, r#"{"exec":{"command":["a"]}}"#),
        (r#"{"exec":{"command":["a"],"command":null}}"#, r#"{"exec":{}}"#),
        (r#"{"httpGet":{"path":"/a","path":null}}"#, r#"{"httpGet":{"path":"/a","port":0}}"#),
    ];
    for (text, want) in cases {
        assert_eq!(Probe::decode(text).unwrap().unwrap().encode(), want, "{text}");
    }
}

#[test]
fn letters_that_are_one_when_case_is_put_aside_are_one_in_keys() {
    let text = "{\"period\u{17f}econd\u{17f}\":1,\"tcp\\u017foc\\u212aet\":{}}";
    assert_eq!(
        Probe::decode(text).unwrap().unwrap().encode(),
        r#"{"tcpSocket":{"port":0},"periodSeconds":1}"#
    );
}

#[test]
fn escapes_mean_what_they_say_and_half_of_a_pair_is_replaced() {
    let cases = [
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u00fc\uD83D\uDE00""#, "ü😀"),
        (r#""\ud83d""#, "\u{fffd}"),
        (r#""\ude00\ud83d!""#, "\u{fffd}\u{fffd}!"),
        ("\"\\ud83d\\u0041\u{1f600}\"", "\u{fffd}A😀"),
    ];
    for (text, want) in cases {
        let probe =
            Probe::decode(&format!(r#"{{"\ud800":"\ud800","exec":{{"command":[{text}]}}}}"#)).unwrap();
        assert_eq!(probe.unwrap().exec.unwrap().command, [want], "{text}");
    }
}

#[test]
fn a_fault_says_where_it_is_and_what_would_be_right() {
    let cases = [
        ("3", "the whole: want an object, or null"),
        (r#"{"httpGet":{"port":1.5}}"#, "httpGet.port: want a whole number of 32 bits, text, or null"),
        (r#"{"periodSeconds":2147483648}"#, "periodSeconds: want a whole number of 32 bits, or null"),
        (r#"{"httpGet":{"httpHeaders":[{},{"name":1}]}}"#, "httpGet.httpHeaders[1].name: want text, or null"),
        (r#"{"exec":{"command":"a"}}"#, "exec.command: want a list, or null"),
        ("{} x", "want a Kubernetes Probe as JSON: trailing characters at line 1 column 4"),
    ];
    for (text, want) in cases {
        assert_eq!(Probe::decode(text).unwrap_err().to_string(), want, "{text}");
    }
    assert_eq!(Probe::decode_multiple("{}").unwrap_err().to_string(), "the whole: want a list, or null");
    let second = Probe::decode_multiple(r#"[null,{"grpc":{"port":"a"}}]"#).unwrap_err();
    assert_eq!(second.to_string(), "[1].grpc.port: want a whole number of 32 bits, or null");
}

#[test]
fn the_length_is_bounded_and_the_depth_of_what_is_passed_over_is_not() {
    let longest = format!("{{}}{}", " ".repeat(MAX_BYTES - 2));
    assert_eq!(Probe::decode(&longest).unwrap(), Some(Probe::default()));
    let longer = longest + " ";
    assert!(matches!(Probe::decode(&longer), Err(InvalidProbe::TooLong(bytes)) if bytes == MAX_BYTES + 1));
    let deep = format!(r#"{{"unknown":{}{}}}"#, "[".repeat(60_000), "]".repeat(60_000));
    assert_eq!(Probe::decode(&deep).unwrap(), Some(Probe::default()));
    assert!(Probe::decode(&"[".repeat(MAX_BYTES)).is_err());
}

fn texts() -> impl Strategy<Value = String> {
    // Any text, often with characters that must be escaped.
    prop_oneof![any::<String>(), "[<>&\u{2028}\u{2029}\"\\\\\n\t\u{8}\u{c}\u{1}\u{7f}ü😀a]{0,12}"]
}

fn ports() -> impl Strategy<Value = Port> {
    prop_oneof![any::<i32>().prop_map(Port::Number), texts().prop_map(Port::Name)]
}

fn ways() -> impl Strategy<Value = Probe> {
    let header = (texts(), texts()).prop_map(|(name, value)| Header { name, value });
    let get = (texts(), ports(), texts(), texts(), prop::collection::vec(header, 0..3)).prop_map(
        |(path, port, host, scheme, http_headers)| HttpGet { path, port, host, scheme, http_headers },
    );
    let exec = prop::collection::vec(texts(), 0..3).prop_map(|command| Exec { command });
    let tcp = (ports(), texts()).prop_map(|(port, host)| TcpSocket { port, host });
    let grpc = (any::<i32>(), of(texts())).prop_map(|(port, service)| Grpc { port, service });
    (of(exec), of(get), of(tcp), of(grpc)).prop_map(|(exec, http_get, tcp_socket, grpc)| Probe {
        exec,
        http_get,
        tcp_socket,
        grpc,
        ..Probe::default()
    })
}

fn probes() -> impl Strategy<Value = Probe> {
    (ways(), any::<[i32; 5]>(), any::<Option<i64>>()).prop_map(
        |(ways, numbers, termination_grace_period_seconds)| {
            let [
                initial_delay_seconds,
                timeout_seconds,
                period_seconds,
                success_threshold,
                failure_threshold,
            ] = numbers;
            Probe {
                initial_delay_seconds,
                timeout_seconds,
                period_seconds,
                success_threshold,
                failure_threshold,
                termination_grace_period_seconds,
                ..ways
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(probes in prop::collection::vec(of(probes()), 1..3)) {
        let text = Probe::encode_multiple(&probes).unwrap();
        prop_assert_eq!(Probe::decode_multiple(&text).unwrap(), probes.clone());
        if let Some(probe) = &probes[0] {
            prop_assert_eq!(Probe::decode(&probe.encode()).unwrap(), Some(probe.clone()));
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text: String) {
        let _ = (Probe::decode(&text), Probe::decode_multiple(&text));
    }

    #[test]
    fn no_damage_makes_the_reader_panic(probe in probes(), at: prop::sample::Index, with: char) {
        let mut chars: Vec<char> = probe.encode().chars().collect();
        let at = at.index(chars.len());
        chars[at] = with;
        let text: String = chars.into_iter().collect();
        let _ = (Probe::decode(&text), Probe::decode_multiple(&text));
    }
}
