//! Integers and floats in the reference's notation.

use std::{num::IntErrorKind, str::FromStr};

use super::{
    hex_float,
    syntax::{Syntax, Unreadable, split_sign, split_while},
};

impl Syntax for i32 {
    const NOUN: &'static str = "an integer";

    fn read(text: &str) -> Result<Self, Unreadable> {
        integer(text)
    }
}

impl Syntax for i64 {
    const NOUN: &'static str = "an integer";

    fn read(text: &str) -> Result<Self, Unreadable> {
        integer(text)
    }
}

impl Syntax for f64 {
    const NOUN: &'static str = "a number";

    /// Parses an optional sign; decimal digits (on at least one side of an optional point) with an optional
    /// exponent, or hexadecimal digits with a mandatory `p` exponent; `inf`, `infinity` and an unsigned `nan`
    /// in any case; `_` between two digits or after the prefix. A finite text too large for the type is an
    /// error; one too small is zero.
    fn read(text: &str) -> Result<Self, Unreadable> {
        if let Some(special) = not_finite(text) {
            return Ok(special);
        }
        let text = without_underscores(text).ok_or(Unreadable::Malformed)?;
        let (negative, unsigned) = split_sign(&text);
        let hex_digits = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"));
        let magnitude = match hex_digits {
            Some(digits) => hex_float::read(digits)?,
            None => decimal(unsigned)?,
        };
        Ok(if negative { -magnitude } else { magnitude })
    }
}

/// Parses an optional sign and decimal digits.
fn integer<T: FromStr<Err = std::num::ParseIntError>>(text: &str) -> Result<T, Unreadable> {
    let (_, digits) = split_sign(text);
    // Checked first, so that a long run of digits before a letter is malformed, not out of range.
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Unreadable::Malformed);
    }
    text.parse().map_err(|e: std::num::ParseIntError| match e.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => Unreadable::OutOfRange,
        _ => Unreadable::Malformed,
    })
}

fn not_finite(text: &str) -> Option<f64> {
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    let (negative, unsigned) = split_sign(text);
    let infinite = ["inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word));
    infinite.then_some(if negative { f64::NEG_INFINITY } else { f64::INFINITY })
}

/// Removes underscores, if each is between two digits or after the prefix of a hex float.
fn without_underscores(text: &str) -> Option<String> {
    let (_, unsigned) = split_sign(text);
    let is_hex = unsigned.starts_with("0x") || unsigned.starts_with("0X");
    let is_digit = |b: u8| if is_hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    let bytes = unsigned.as_bytes();
    let well_placed = bytes.iter().enumerate().filter(|(_, b)| **b == b'_').all(|(at, _)| {
        let before = at.checked_sub(1).and_then(|i| bytes.get(i));
        let after = bytes.get(at + 1);
        let follows_prefix = is_hex && at == 2;
        (follows_prefix || before.is_some_and(|b| is_digit(*b))) && after.is_some_and(|b| is_digit(*b))
    });
    well_placed.then(|| text.replace('_', ""))
}

/// Parses an unsigned decimal float.
fn decimal(text: &str) -> Result<f64, Unreadable> {
    let is_digit = |c: char| c.is_ascii_digit();
    let (whole, rest) = split_while(text, is_digit);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), |rest| split_while(rest, is_digit));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    if !has_digits || !(rest.is_empty() || is_exponent(rest)) {
        return Err(Unreadable::Malformed);
    }
    let value: f64 = text.parse().map_err(|_| Unreadable::Malformed)?;
    if value.is_finite() { Ok(value) } else { Err(Unreadable::OutOfRange) }
}

/// Returns whether `text` is `e`, an optional sign, and digits.
fn is_exponent(text: &str) -> bool {
    let Some(signed) = text.strip_prefix(['e', 'E']) else { return false };
    let (_, digits) = split_sign(signed);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_have_a_sign_and_decimal_digits() {
        for (text, want) in [("0", 0), ("-0", 0), ("+5", 5), ("05", 5), ("-2147483648", i32::MIN)] {
            assert_eq!(i32::read(text), Ok(want), "{text}");
        }
        for text in ["", "+", "-", "--1", " 5", "5 ", "5.0", "1e2", "0x10", "1_000", "٣", "99999999999x"] {
            assert_eq!(i32::read(text), Err(Unreadable::Malformed), "{text}");
        }
    }

    #[test]
    fn integers_that_do_not_fit_are_told_from_malformed_ones() {
        assert_eq!(i32::read("2147483648"), Err(Unreadable::OutOfRange));
        assert_eq!(i32::read("-2147483649"), Err(Unreadable::OutOfRange));
        assert_eq!(i64::read("2147483648"), Ok(2_147_483_648));
        assert_eq!(i64::read("9223372036854775808"), Err(Unreadable::OutOfRange));
    }

    #[test]
    fn floats_have_digits_on_at_least_one_side_of_the_point() {
        for (text, want) in [
            ("5.", 5.0),
            (".5", 0.5),
            ("-0.5", -0.5),
            ("1E3", 1000.0),
            ("1e-2", 0.01),
            ("1_000", 1000.0),
            ("1e1_0", 1e10),
            ("0x10p0", 16.0),
            ("0x1p-2", 0.25),
            ("0X1.8P+1", 3.0),
            ("0x_1p4", 16.0),
            ("-0x.8p1", -1.0),
            ("1e-400", 0.0),
        ] {
            assert_eq!(f64::read(text), Ok(want), "{text}");
        }
        for text in [
            "", ".", "e1", "1e", "1e+", "1,5", "50%", " 50", "50 ", "0x10", "0xp1", "0x1p", "_1", "1_",
            "1__0", "1_.5", "1._5", "1_e5", "1e_5", "0_x1p0", "--1", "+-1",
        ] {
            assert_eq!(f64::read(text), Err(Unreadable::Malformed), "{text}");
        }
    }

    #[test]
    fn floats_too_large_are_an_error_and_never_infinite() {
        for text in ["1e400", "-1e400", "0x1p1024", "0x1.fffffffffffff8p1023"] {
            assert_eq!(f64::read(text), Err(Unreadable::OutOfRange), "{text}");
        }
    }

    #[test]
    fn words_stand_for_what_is_not_finite() {
        for text in ["inf", "+Inf", "INFINITY"] {
            assert_eq!(f64::read(text), Ok(f64::INFINITY), "{text}");
        }
        assert_eq!(f64::read("-Infinity"), Ok(f64::NEG_INFINITY));
        assert!(f64::read("nAn").is_ok_and(f64::is_nan));
        for text in ["+nan", "-nan", "infinite", "in", "nan0"] {
            assert_eq!(f64::read(text), Err(Unreadable::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_an_integer_prints_is_read_back(value: i64) {
            prop_assert_eq!(i64::read(&value.to_string()), Ok(value));
        }

        #[test]
        fn what_a_finite_float_prints_is_read_back(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            prop_assert_eq!(f64::read(&format!("{value:e}")), Ok(value));
            prop_assert_eq!(f64::read(&value.to_string()), Ok(value));
        }

        #[test]
        fn no_text_makes_a_number_panic(text in "[-+0-9a-fA-FxXpP._einf ]{0,24}|.*") {
            let _ = (i32::read(&text), i64::read(&text), f64::read(&text));
        }
    }
}
