//! Questions as an API server asks them, valid and invalid.

use ebb_properties::admission_review::hold;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::Config,
};

const POD: &str = include_str!("../../fuzz/seeds/admission_review/pod");
const SERVICE: &str = include_str!("../../fuzz/seeds/admission_review/service");
const UPDATE: &str = include_str!("../../fuzz/seeds/admission_review/update");

/// Replacements for other values.
const PIECES: [&str; 20] = [
    "null",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "1e400",
    "18446744073709551616",
    "true",
    ",",
    "}",
    "{\"a\":",
    "\"app\":\"hello\",",
    "\"hostNetwork\":true,",
    "\"ebb.dev/sidecar\":\"native\",",
    "\"autoscaling.knative.dev/target\":\"many\",",
    "\"initContainers\":[{\"name\":\"queue-proxy\"}],",
    "\"lifecycle\":{\"preStop\":null},",
    "\"readinessProbe\":{\"httpGet\":{\"port\":\"x\"}},",
    "\\u0000",
    "\u{fffd}",
];

/// Returns a question with one value, or one piece of its text, replaced.
fn question() -> impl Strategy<Value = Vec<u8>> {
    let fault = (any::<Index>(), 0usize..24, select(&PIECES[..]));
    (select(&[POD, SERVICE, UPDATE][..]), vec(fault, 0..4)).prop_map(|(question, faults)| {
        let mut bytes = question.as_bytes().to_vec();
        for (at, removed, piece) in faults {
            // Choose positions where a value or a field begins, so that most results can be parsed.
            let places: Vec<usize> =
                (1..bytes.len()).filter(|at| matches!(bytes[at - 1], b':' | b'{' | b'[')).collect();
            let Some(start) = (!places.is_empty()).then(|| places[at.index(places.len())]) else { break };
            let value =
                bytes[start..].iter().position(|byte| matches!(byte, b',' | b'}' | b']')).unwrap_or(0);
            let end = if piece.ends_with(',') { start } else { start + value.max(removed.min(1)) };
            bytes.splice(start..end.min(bytes.len()), piece.bytes());
        }
        bytes
    })
}

proptest! {
    #![proptest_config(Config::with_cases(2000))]

    #[test]
    fn every_question_has_an_answer_that_suits_it(question in question()) {
        hold(&question);
    }

    #[test]
    fn bytes_that_are_no_question_have_an_answer_too(bytes in vec(any::<u8>(), 0..200)) {
        hold(&bytes);
    }
}

#[test]
fn what_the_questions_begin_as_is_changed() {
    for question in [POD, SERVICE, UPDATE] {
        assert_eq!(hold(question.as_bytes()), 1, "{question}");
    }
}

/// The API server asks about it before it validates the pod.
#[test]
fn a_pod_without_containers_is_left_for_the_api_server_to_refuse() {
    let containers = POD.find(r#""containers":["#).expect("it has some") + r#""containers":"#.len();
    let end = containers + POD[containers..].find(r#","restartPolicy""#).expect("it has a policy");
    let without = [&POD[..containers], "null", &POD[end..]].concat();
    assert_eq!(hold(without.as_bytes()), 0, "{without}");
}
