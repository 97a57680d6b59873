//! Kubernetes quantities.
//!
//! The API server would refuse a pod with an invalid quantity, so each one from an annotation is parsed here first.

/// Maximum length of a quantity; Kubernetes' own have at most 18 digits and a suffix.
const MAX_LEN: usize = 32;

/// Parses `text` as thousandths, rounded up as in Kubernetes; `None` if it is not a quantity of at least 0, or
/// exceeds `u64`.
pub(super) fn thousandths(text: &str) -> Option<u64> {
    if text.len() > MAX_LEN {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let digits: u128 = format!("0{whole}{fraction}").parse().ok()?;
    let (binary, decimal) = scale(suffix)?;
    // digits × 2^binary × 10^decimal, adjusted for the fraction's digits and for thousandths.
    let exponent = decimal.checked_add(3)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(1_u128.checked_shl(binary)?)?;
    let power = 10_u128.checked_pow(exponent.unsigned_abs());
    let value = match (exponent >= 0, power) {
        _ if digits == 0 => 0,
        (true, power) => scaled.checked_mul(power?)?,
        (false, Some(power)) => scaled.div_ceil(power),
        (false, None) => 1,
    };
    u64::try_from(value).ok()
}

/// Returns the powers of 2 and of 10 of a suffix.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            let power: i32 = digits.parse().ok()?;
            // Real quantities stay within this limit, and its powers fit into 128 bits or fail.
            (0, Some(power).filter(|power| power.abs() <= 30)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        for (text, thousandths_of_it) in [
            ("0", 0),
            ("1", 1000),
            ("+2", 2000),
            ("25m", 25),
            ("0.5", 500),
            (".5", 500),
            ("5.", 5000),
            ("1.5", 1500),
            ("1k", 1_000_000),
            ("16Mi", 16 * 1024 * 1024 * 1000),
            ("0.5Gi", 512 * 1024 * 1024 * 1000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("15e-1", 1500),
            ("1n", 1),
            ("100u", 1),
            ("0.0001", 1),
        ] {
            assert_eq!(thousandths(text), Some(thousandths_of_it), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            " ",
            ".",
            "m",
            "-1",
            "+-1",
            "1 ",
            "1.2.3",
            "1mi",
            "1MB",
            "1ee3",
            "1e",
            "1e3.5",
            "0x10",
            "1e99",
            "NaN",
            "99999999999999999999E",
            "1Kim",
            "1000000000000000000000000000000000000000000000000000000",
        ] {
            assert_eq!(thousandths(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(text in "[+-]?[0-9.]{0,20}[a-zA-Z0-9-]{0,4}") {
            let _ = thousandths(&text);
        }
    }
}
