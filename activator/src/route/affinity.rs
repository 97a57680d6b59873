//! Keeps each user with one target, by weighted rendezvous hashing.
//!
//! Each pair of a user and a target has a score that every activator computes alike; the target with the best
//! score, in proportion to its weight, gets the user. When weights change, a user moves only to a target
//! whose weight has grown more than that of the target it leaves: when one target gives weight to another,
//! only the users that must move do. (No stateless choice can move fewer in every case where three or more
//! weights change at once.)

use std::hash::Hasher;

use ebb_core::link::SplitKey;
use fnv::FnvHasher;
use http::{HeaderMap, HeaderName, header};

/// Where a request carries the value that identifies its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Affinity {
    Cookie(String),
    Header(HeaderName),
}

impl Affinity {
    /// Reads the table's entry; returns `None` if requests are split one by one.
    pub(super) fn of(key: Option<&SplitKey>) -> Option<Self> {
        let SplitKey { cookie, header } = key?;
        match header.parse() {
            Ok(name) if cookie.is_empty() => Some(Self::Header(name)),
            _ if !cookie.is_empty() => Some(Self::Cookie(cookie.clone())),
            _ => None,
        }
    }

    /// Returns the value of a request, the first if there are several; `None` if it has none.
    pub(super) fn value<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        let value = match self {
            Self::Header(name) => headers.get(name)?.as_bytes(),
            Self::Cookie(wanted) => headers
                .get_all(header::COOKIE)
                .iter()
                .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
                .find_map(|pair| {
                    let equals = pair.iter().position(|byte| *byte == b'=')?;
                    let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
                    (name.trim_ascii() == wanted.as_bytes()).then(|| value.trim_ascii())
                })?,
        };
        (!value.is_empty()).then_some(value)
    }
}

/// Returns which of `targets`, given with their weights, has the user of `value`; `None` if no weight is
/// above 0.
pub(super) fn target_of<'a>(value: &[u8], targets: impl Iterator<Item = (&'a str, u32)>) -> Option<usize> {
    let scored = targets.enumerate().filter(|(_, (_, weight))| *weight > 0).map(|(index, (name, weight))| {
        // Dividing the logarithm of a uniform number by the weight makes each target win in proportion to its
        // weight.
        (uniform(value, name).ln() / f64::from(weight), index)
    });
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, index)| index)
}

/// Returns a number above 0 and below 1, the same in every activator and build.
fn uniform(value: &[u8], target: &str) -> f64 {
    let mut hasher = FnvHasher::default();
    hasher.write(value);
    hasher.write(&[0xff]); // in no name
    hasher.write(target.as_bytes());
    let mut mixed = hasher.finish();
    // FNV hardly spreads a difference in the last bytes; the finalizer of MurmurHash3 does.
    mixed = (mixed ^ mixed >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^= mixed >> 33;
    ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn users() -> impl Iterator<Item = String> {
        (0..20_000).map(|n| format!("user-{n}"))
    }

    fn chosen(user: &str, weights: &[(&'static str, u32)]) -> &'static str {
        let index = target_of(user.as_bytes(), weights.iter().copied()).unwrap();
        weights[index].0
    }

    #[test]
    fn users_are_divided_by_weight() {
        for (weights, wanted) in [([("v1", 90), ("v2", 10)], 0.1), ([("v1", 1), ("v2", 1)], 0.5)] {
            let second = users().filter(|user| chosen(user, &weights) == "v2").count() as f64 / 20_000.0;
            assert!((second - wanted).abs() < 0.01, "{second} of {wanted}");
        }
    }

    fn moves(
        before: &[(&'static str, u32)],
        after: &[(&'static str, u32)],
    ) -> Vec<(&'static str, &'static str)> {
        let both = users().map(|user| (chosen(&user, before), chosen(&user, after)));
        both.filter(|(was, is)| was != is).collect()
    }

    #[test]
    fn only_those_move_who_must() {
        let moved = moves(&[("v1", 90), ("v2", 10)], &[("v1", 80), ("v2", 20)]);
        assert!(moved.iter().all(|moved| *moved == ("v1", "v2")));
        assert!((1_850..2_150).contains(&moved.len()), "a tenth of 20000: {}", moved.len());
        assert_eq!(moves(&[("v1", 1), ("v2", 2)], &[("v1", 50), ("v2", 100)]), [], "nothing has changed");
        let moved = moves(&[("v1", 70), ("v2", 20), ("v3", 10)], &[("v1", 60), ("v2", 30), ("v3", 10)]);
        assert!(moved.iter().all(|(was, _)| *was != "v2"), "v2 has grown, and loses nobody");
    }

    #[test]
    fn nobody_moves_to_what_has_grown_less() {
        let moved = moves(&[("v1", 90), ("v2", 10), ("v3", 1)], &[("v1", 70), ("v2", 20), ("v3", 10)]);
        assert!(moved.iter().all(|(was, is)| was < is), "v3 has grown most, v1 least");
    }

    #[test]
    fn who_has_no_weight_has_no_user() {
        assert_eq!(target_of(b"a", [("v1", 0), ("v2", 1)].into_iter()), Some(1));
        assert_eq!(target_of(b"a", [("v1", 0)].into_iter()), None);
    }

    #[test]
    fn a_value_is_found_in_its_header_or_in_its_cookie() {
        let mut headers = HeaderMap::new();
        let cookie = Affinity::Cookie("s".to_owned());
        assert_eq!(cookie.value(&headers), None);
        headers.append("x-user", HeaderValue::from_static("ann"));
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; ss=2;flag"));
        headers.append(header::COOKIE, HeaderValue::from_static("S=3; s=bob==; s=other"));
        assert_eq!(cookie.value(&headers), Some(&b"bob=="[..]));
        assert_eq!(Affinity::Header(HeaderName::from_static("x-user")).value(&headers), Some(&b"ann"[..]));
        headers.insert(header::COOKIE, HeaderValue::from_static("s="));
        assert_eq!(cookie.value(&headers), None, "nothing tells nobody apart");
    }

    proptest! {
        #[test]
        fn any_cookie_is_read_without_a_panic(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let headers = HeaderMap::from_iter([(header::COOKIE, value)]);
                let _ = Affinity::Cookie("s".to_owned()).value(&headers);
            }
        }
    }
}
