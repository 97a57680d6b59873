//! The forms that values of the vectors have.

use std::time::Duration;

use serde_json::Value;

/// Largest relative difference of two floats that count as equal.
const TOLERANCE: f64 = 1e-9;

/// A float, whose not-a-number and infinities are written as texts, and whose fraction is left out where it
/// is zero.
///
/// # Panics
///
/// If `value` is neither a number nor one of those texts.
pub fn float(value: &Value) -> f64 {
    match value {
        Value::String(text) => match text.as_str() {
            "NaN" => f64::NAN,
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            other => panic!("{other:?} is not a float of a vector"),
        },
        other => other.as_f64().unwrap_or_else(|| panic!("{other} is not a float of a vector")),
    }
}

/// A whole number.
///
/// # Panics
///
/// If `value` is none of 64 bits.
pub fn integer(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is not a whole number of a vector"))
}

/// A length of time in milliseconds; absent is none at all.
///
/// # Panics
///
/// If `value` is neither absent nor a whole number of at least 0.
pub fn millis(value: &Value) -> Duration {
    if value.is_null() {
        return Duration::ZERO;
    }
    Duration::from_millis(value.as_u64().unwrap_or_else(|| panic!("{value} is not a length of time in ms")))
}

/// How long after the Unix epoch it is `millis` after the second `epoch`. A time may lie before the epoch of
/// its case, since times of records go backwards.
///
/// # Panics
///
/// If either is no whole number, or the time lies before the Unix epoch.
pub fn instant(epoch: &Value, millis: &Value) -> Duration {
    let unix_millis = integer(epoch).checked_mul(1000).and_then(|epoch| epoch.checked_add(integer(millis)));
    let unix_millis = unix_millis.and_then(|millis| u64::try_from(millis).ok());
    Duration::from_millis(
        unix_millis.unwrap_or_else(|| panic!("{millis} ms after {epoch} s is not a time of a vector")),
    )
}

/// The elements of a list; absent is the same as none.
///
/// # Panics
///
/// If `value` is anything else.
pub fn list(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Array(elements) => elements,
        other => panic!("{other} is not a list of a vector"),
    }
}

/// Whether two floats agree to a relative difference of 1e-9; not-a-number with itself, infinities exactly.
pub fn agree(got: f64, want: f64) -> bool {
    if got.is_finite() && want.is_finite() {
        // The same, too, where a difference or a product would overflow.
        got == want || (got - want).abs() <= TOLERANCE * want.abs().max(got.abs())
    } else {
        got == want || got.is_nan() && want.is_nan()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_float_is_a_number_with_or_without_fraction_or_one_of_three_texts() {
        let read = |text: &str| float(&serde_json::from_str(text).unwrap());
        assert_eq!(read("3"), 3.0);
        assert_eq!(read("-5e-10"), -5e-10);
        assert_eq!(read("18446744073709551616"), 18_446_744_073_709_551_616.0);
        assert_eq!(read("1e+300"), 1e300);
        assert!(read(r#""NaN""#).is_nan());
        assert_eq!((read(r#""+Inf""#), read(r#""-Inf""#)), (f64::INFINITY, f64::NEG_INFINITY));
        // A parser that does not round correctly reads the next one.
        assert_eq!(read("0.9999999999999999").to_bits(), 1.0_f64.to_bits() - 1);
    }

    #[test]
    #[should_panic(expected = "is not a float")]
    fn a_float_that_is_absent_is_refused() {
        float(&Value::Null);
    }

    #[test]
    fn times_may_lie_before_their_epoch() {
        assert_eq!(instant(&json!(10), &json!(2500)), Duration::from_millis(12_500));
        assert_eq!(instant(&json!(10), &json!(-2500)), Duration::from_millis(7_500));
    }

    #[test]
    fn lists_and_lengths_of_time_may_be_absent() {
        assert!(list(&Value::Null).is_empty());
        assert_eq!(list(&json!([1])), [json!(1)]);
        assert_eq!(millis(&Value::Null), Duration::ZERO);
        assert_eq!(millis(&json!(1500)), Duration::from_millis(1500));
        assert_eq!(integer(&json!(-1)), -1);
    }

    #[test]
    fn floats_agree_by_their_relative_difference_and_infinities_only_with_themselves() {
        let all = [0.0, 1.0, -1.0, 1e-300, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        for (i, a) in all.into_iter().enumerate() {
            for (j, b) in all.into_iter().enumerate() {
                assert_eq!(agree(a, b), i == j, "{a} and {b}");
            }
        }
        assert!(agree(1.0, 1.0 + 1e-10) && !agree(1.0, 1.0 + 1e-8));
    }
}
