//! Reports of load, as bytes from the network.

use ebb_core::stat::{Stat, WireStatMessages};
use prost::Message;

/// Checks everything that holds of `bytes`, taken for a [`Stat`] and for [`WireStatMessages`].
///
/// # Panics
///
/// If something does not hold.
pub fn hold(bytes: &[u8]) {
    if let Ok(stat) = Stat::decode(bytes) {
        let again = Stat::decode(&*stat.encode_to_vec()).expect("what was decoded can be encoded");
        assert!(is_same(&stat, &again), "{stat:?} came back as {again:?}");
        holds_of_stat(&stat);
    }
    if let Ok(sent) = WireStatMessages::decode(bytes) {
        let encoded = sent.encode_to_vec();
        let again = WireStatMessages::decode(&*encoded).expect("what was decoded can be encoded");
        assert_eq!(sent.messages.len(), again.messages.len(), "messages are neither lost nor made up");
        for (sent, again) in sent.messages.iter().zip(&again.messages) {
            assert_eq!(sent.service(), again.service());
            assert_eq!(sent.stat.is_some(), again.stat.is_some(), "{sent:?} came back as {again:?}");
            if let (Some(sent), Some(again)) = (&sent.stat, &again.stat) {
                assert!(is_same(sent, again), "{sent:?} came back as {again:?}");
                holds_of_stat(sent);
            }
        }
        assert_eq!(again.encode_to_vec(), encoded, "there is one way to write a message");
    }
}

fn holds_of_stat(stat: &Stat) {
    // Not a number lies in no range.
    let is_sane = numbers(stat).iter().all(|number| (0.0..=1e9).contains(number));
    assert_eq!(stat.is_sane(), is_sane, "{stat:?}");
    if is_sane {
        let own = [stat.own_concurrency(), stat.own_rate()];
        assert!(own.iter().all(|number| number.is_finite()), "what is sane can be summed up: {stat:?}");
    }
}

/// Equal, where one that is not a number equals any other.
fn is_same(a: &Stat, b: &Stat) -> bool {
    let is_same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
    a.pod_name == b.pod_name && a.timestamp == b.timestamp && numbers(a).iter().zip(&numbers(b)).all(is_same)
}

fn numbers(stat: &Stat) -> [f64; 5] {
    [
        stat.average_concurrent_requests,
        stat.average_proxied_concurrent_requests,
        stat.request_count,
        stat.proxied_request_count,
        stat.process_uptime,
    ]
}
