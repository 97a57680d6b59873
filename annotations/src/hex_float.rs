//! Hexadecimal floats, rounded to nearest, ties to even.

use super::syntax::{Unreadable, split_sign, split_while};

/// The bits of a float's mantissa, including the hidden one.
const MANTISSA_BITS: i64 = 53;
/// The exponent of the smallest float's only bit.
const LEAST_EXPONENT: i64 = -1074;
/// The exponent of the highest bit of the largest float.
const GREATEST_EXPONENT: i64 = 1023;
/// Exponents are clamped here; a text would need megabytes of digits to make up for it.
const EXPONENT_LIMIT: i64 = 1 << 40;

/// Reads what follows the prefix `0x`: hex digits with an optional point, `p`, and a decimal exponent.
pub(super) fn read(text: &str) -> Result<f64, Unreadable> {
    let is_digit = |c: char| c.is_ascii_hexdigit();
    let (whole, rest) = split_while(text, is_digit);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), |rest| split_while(rest, is_digit));
    if whole.is_empty() && fraction.is_empty() {
        return Err(Unreadable::Malformed);
    }
    let exponent = exponent(rest.strip_prefix(['p', 'P']).ok_or(Unreadable::Malformed)?)?;
    let (mantissa, dropped_digits) = mantissa(whole.chars().chain(fraction.chars()));
    let digits_to_the_left = dropped_digits.saturating_sub(as_i64(fraction.len()));
    rounded(mantissa, exponent.saturating_add(digits_to_the_left.saturating_mul(4)))
}

/// Returns the first 16 significant digits, and how many more there were. If any of the others is not zero,
/// the lowest bit is set: it is so far below the 53 that count that it only decides ties.
fn mantissa(digits: impl Iterator<Item = char>) -> (u64, i64) {
    let mut mantissa: u64 = 0;
    let mut dropped: i64 = 0;
    for digit in digits.filter_map(|c| c.to_digit(16)) {
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
        } else {
            dropped += 1;
            mantissa |= u64::from(digit != 0);
        }
    }
    (mantissa, dropped)
}

fn exponent(text: &str) -> Result<i64, Unreadable> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Unreadable::Malformed);
    }
    let magnitude = digits.parse().unwrap_or(EXPONENT_LIMIT).min(EXPONENT_LIMIT);
    Ok(if negative { -magnitude } else { magnitude })
}

/// Returns `mantissa × 2^exponent` as a float.
fn rounded(mantissa: u64, exponent: i64) -> Result<f64, Unreadable> {
    if mantissa == 0 {
        return Ok(0.0);
    }
    let bits = i64::from(u64::BITS - mantissa.leading_zeros());
    let highest = exponent.saturating_add(bits - 1);
    if highest > GREATEST_EXPONENT {
        return Err(Unreadable::OutOfRange);
    }
    // Subnormal numbers have fewer bits: none may lie below the least exponent.
    let kept = MANTISSA_BITS.min(highest.saturating_sub(LEAST_EXPONENT - 1));
    if kept < 0 {
        return Ok(0.0);
    }
    let (mantissa, dropped) =
        if kept < bits { (halved(mantissa, bits - kept), bits - kept) } else { (mantissa, 0) };
    // Both factors and the product are exact, unless rounding reached the next power beyond the range.
    let value = mantissa as f64 * power_of_two(exponent.saturating_add(dropped));
    if value.is_finite() { Ok(value) } else { Err(Unreadable::OutOfRange) }
}

/// Returns `mantissa / 2^times` (`times` in 1..=64), rounded to nearest, ties to even.
fn halved(mantissa: u64, times: i64) -> u64 {
    let quotient = mantissa.checked_shr(u32::try_from(times).unwrap_or(u32::MAX)).unwrap_or(0);
    let half = 1_u128 << (times - 1);
    let rest = u128::from(mantissa) & ((half << 1) - 1);
    let up = rest > half || (rest == half && quotient & 1 == 1);
    quotient + u64::from(up)
}

/// Returns `2^exponent`; zero below the range of floats, infinite above it.
fn power_of_two(exponent: i64) -> f64 {
    match exponent {
        ..LEAST_EXPONENT => 0.0,
        LEAST_EXPONENT..-1022 => f64::from_bits(1 << (exponent - LEAST_EXPONENT)),
        -1022..=GREATEST_EXPONENT => f64::from_bits(((exponent + GREATEST_EXPONENT).unsigned_abs()) << 52),
        _ => f64::INFINITY,
    }
}

fn as_i64(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ties_go_to_even_and_one_more_digit_breaks_them() {
        assert_eq!(read("1.00000000000008p0"), Ok(1.0));
        assert_eq!(read("1.000000000000080000000000001p0"), Ok(1.0 + f64::EPSILON));
        assert_eq!(read("1.00000000000018p0"), Ok(1.0 + 2.0 * f64::EPSILON));
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        assert_eq!(read("1.fffffffffffffp1023"), Ok(f64::MAX));
        assert_eq!(read("1.fffffffffffff8p1023"), Err(Unreadable::OutOfRange));
        assert_eq!(read("1p-1022"), Ok(f64::MIN_POSITIVE));
        assert_eq!(read("1p-1074"), Ok(f64::from_bits(1)));
        assert_eq!(read("1p-1075"), Ok(0.0));
        assert_eq!(read("1.8p-1075"), Ok(f64::from_bits(1)));
        assert_eq!(read("1p-99999999999999999999"), Ok(0.0));
        assert_eq!(read("1p99999999999999999999"), Err(Unreadable::OutOfRange));
        assert_eq!(read("0p99999999999999999999"), Ok(0.0));
    }

    proptest! {
        #[test]
        fn every_float_is_read_back_from_its_bits(bits in 0..f64::INFINITY.to_bits()) {
            let (biased, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
            let text = match biased {
                0 => format!("0.{fraction:013x}p-1022"),
                _ => format!("1.{fraction:013x}p{}", biased.cast_signed() - 1023),
            };
            prop_assert_eq!(read(&text).map(f64::to_bits), Ok(bits));
        }

        #[test]
        fn integers_round_as_conversions_do(mantissa: u64, shift in 0_i64..900) {
            let want = mantissa as f64 * power_of_two(shift);
            prop_assert_eq!(read(&format!("{mantissa:x}p{shift}")), Ok(want));
        }
    }
}
