use std::{fmt, str::FromStr, time::Duration};

use super::syntax::{Syntax, Unreadable, split_sign, split_while};

/// A signed duration in nanoseconds, in the reference's notation: `90s`, `1m30s`, `1.5h`, `-5s`.
///
/// It is separate from [`Duration`] because the reference accepts negative durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// Units from the longest to the shortest, in nanoseconds; they are printed in this order.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];
/// Other spellings of `us`: with the micro sign, and with a Greek mu.
const MICROSECONDS: [&str; 2] = ["\u{b5}s", "\u{3bc}s"];
/// The digits of a fraction that are read; the next one would be worth less than a millionth of a nanosecond.
const FRACTION_DIGITS: usize = 18;

impl GoDuration {
    /// The zero duration.
    pub const ZERO: Self = Self(0);

    /// Creates a duration from nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Creates a duration from seconds, saturating at the largest one.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Returns the nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Returns whether there is no fraction of a second.
    pub const fn is_whole_seconds(self) -> bool {
        self.0 % 1_000_000_000 == 0
    }

    /// Returns the unsigned duration; a negative one becomes zero.
    pub const fn to_std(self) -> Duration {
        if self.0 < 0 { Duration::ZERO } else { Duration::from_nanos(self.0.unsigned_abs()) }
    }
}

impl From<Duration> for GoDuration {
    /// Saturates at the largest duration, some 292 years.
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.unsigned_abs();
        for (name, nanos) in UNITS {
            if rest >= nanos {
                write!(f, "{}{name}", rest / nanos)?;
            }
            rest %= nanos;
        }
        Ok(())
    }
}

impl FromStr for GoDuration {
    type Err = Unreadable;

    /// Parses an optional sign, then `0`, or one or more pairs of number and unit (`h`, `m`, `s`, `ms`, `us`,
    /// `ns`). Fractions of a nanosecond are cut off.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (negative, unsigned) = split_sign(text);
        if unsigned == "0" {
            return Ok(Self::ZERO);
        }
        if unsigned.is_empty() {
            return Err(Unreadable::Malformed);
        }
        let mut total: i128 = 0;
        let mut rest = unsigned;
        while !rest.is_empty() {
            let (nanos, after) = component(rest)?;
            total = total.saturating_add(nanos);
            rest = after;
        }
        let signed = if negative { -total } else { total };
        i64::try_from(signed).map(Self).map_err(|_| Unreadable::OutOfRange)
    }
}

impl Syntax for GoDuration {
    const NOUN: &'static str = "a duration";

    fn read(text: &str) -> Result<Self, Unreadable> {
        text.parse()
    }
}

/// Returns the nanoseconds of the first number and unit of `text`, and the rest.
fn component(text: &str) -> Result<(i128, &str), Unreadable> {
    let is_digit = |c: char| c.is_ascii_digit();
    let (whole, rest) = split_while(text, is_digit);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), |rest| split_while(rest, is_digit));
    if whole.is_empty() && fraction.is_empty() {
        return Err(Unreadable::Malformed);
    }
    let (unit, rest) = split_while(rest, |c| c != '.' && !c.is_ascii_digit());
    let unit = i128::from(nanos_of(unit).ok_or(Unreadable::Malformed)?);
    let (numerator, denominator) = fraction
        .bytes()
        .take(FRACTION_DIGITS)
        .fold((0, 1), |(n, d), digit| (n * 10 + i128::from(digit - b'0'), d * 10));
    let nanos = decimal(whole).saturating_mul(unit).saturating_add(numerator * unit / denominator);
    Ok((nanos, rest))
}

/// Returns the value of `digits`, saturating at the largest.
fn decimal(digits: &str) -> i128 {
    digits.bytes().fold(0, |n: i128, digit| n.saturating_mul(10).saturating_add(i128::from(digit - b'0')))
}

fn nanos_of(unit: &str) -> Option<u64> {
    let unit = if MICROSECONDS.contains(&unit) { "us" } else { unit };
    UNITS.iter().find(|(name, _)| *name == unit).map(|(_, nanos)| *nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn nanos(text: &str) -> i64 {
        text.parse::<GoDuration>().map(GoDuration::as_nanos).unwrap()
    }

    #[test]
    fn numbers_and_units_add_up() {
        assert_eq!(nanos("1m30s"), 90_000_000_000);
        assert_eq!(nanos("1h0m0s"), 3_600_000_000_000);
        assert_eq!(nanos("1m1h"), 3_660_000_000_000);
        assert_eq!(nanos("+.5m"), 30_000_000_000);
        assert_eq!(nanos("5.s"), 5_000_000_000);
        assert_eq!(nanos("-1.5h"), -5_400_000_000_000);
        assert_eq!(nanos("1µs") + nanos("1μs") + nanos("1us"), 3_000);
        assert_eq!((nanos("0"), nanos("-0"), nanos("-0s")), (0, 0, 0));
    }

    #[test]
    fn fractions_of_a_nanosecond_are_cut_off() {
        assert_eq!(nanos("0.5ns"), 0);
        assert_eq!(nanos("1.9999999999s"), 1_999_999_999);
        assert_eq!(nanos("0.9999999999999999999999999999999999999999999s"), 999_999_999);
    }

    #[test]
    fn texts_without_number_or_unit_are_no_durations() {
        for text in
            ["", "-", "s", ".", ".s", "5", "00", "90", " 5s", "5s ", "1d", "1e3s", "five", "1m-5s", "1S"]
        {
            assert_eq!(text.parse::<GoDuration>(), Err(Unreadable::Malformed), "{text:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert_eq!(nanos("2562047h47m16.854775807s"), i64::MAX);
        assert_eq!(nanos("-2562047h47m16.854775808s"), i64::MIN);
        let endless = format!("{}h", "9".repeat(500));
        for text in ["2562047h47m16.854775808s", "9999999999h", &endless] {
            assert_eq!(text.parse::<GoDuration>(), Err(Unreadable::OutOfRange), "{text}");
        }
    }

    #[test]
    fn printing_leaves_out_units_of_which_there_are_none() {
        for text in ["0s", "1h", "1m30s", "1s500ms", "-5s", "1us", "1h1ns"] {
            assert_eq!(text.parse::<GoDuration>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_negative_duration_is_no_time_to_wait() {
        assert_eq!(GoDuration::from_secs(-1).to_std(), Duration::ZERO);
        assert_eq!(GoDuration::from(Duration::MAX).as_nanos(), i64::MAX);
    }

    proptest! {
        #[test]
        fn what_a_duration_prints_is_read_back(nanos: i64) {
            let duration = GoDuration::from_nanos(nanos);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn no_text_makes_a_duration_panic(text in "[-+0-9.hmsuµn]{0,40}|.*") {
            let _ = text.parse::<GoDuration>();
        }
    }
}
