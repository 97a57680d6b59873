//! Quantities of resources: `500m`, `1.5`, `64Mi`, `1e3`.

/// The most digits of a quantity: more than any real one has, and few enough for 128 bits.
const MOST_DIGITS: usize = 18;
/// The most powers of ten that a suffix may say.
const MOST_POWERS: i32 = 18;

/// Returns how many billionths of one a quantity is, rounded up; `None` if it is not a quantity.
pub(in super::super) fn nanos(text: &str) -> Option<i128> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || fraction.contains('.') || digits.len() > MOST_DIGITS {
        return None;
    }
    let (twos, tens) = scale(suffix)?;
    let tens = tens + 9 - i32::try_from(fraction.len()).ok()?;
    let scaled = digits.parse::<i128>().ok()?.checked_mul(1_i128.checked_shl(twos)?)?;
    let power = 10_i128.checked_pow(tens.unsigned_abs())?;
    let size = if tens < 0 { (scaled + power - 1) / power } else { scaled.checked_mul(power)? };
    Some(sign * size)
}

/// Returns a quantity as clients in Go write it: a whole number with the largest suffix of its kind. Returns `None` for
/// what is no quantity, or has an exponent, which those clients keep.
pub(in super::super) fn canonical(text: &str) -> Option<String> {
    let size = nanos(text)?;
    let is_binary = text.ends_with('i');
    if text.contains(['e', 'E']) && !text.ends_with('E') && !is_binary {
        return None;
    }
    if size == 0 {
        return Some("0".to_owned());
    }
    let largest = |size: i128, step: i128, suffixes: &[&str]| {
        let mut size = size;
        let mut suffixes = suffixes.iter();
        let mut suffix = suffixes.next().copied().unwrap_or_default();
        while size % step == 0
            && let Some(larger) = suffixes.next()
        {
            (size, suffix) = (size / step, larger);
        }
        format!("{size}{suffix}")
    };
    Some(if is_binary && size % 1_000_000_000 == 0 {
        largest(size / 1_000_000_000, 1024, &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
    } else {
        largest(size, 1000, &["n", "u", "m", "", "k", "M", "G", "T", "P", "E"])
    })
}

/// Returns the powers of two and of ten that a suffix says.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    let binary = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|known| *known == suffix);
    if let Some(index) = binary {
        return Some((u32::try_from(index).ok()? * 10, 0));
    }
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"].iter().position(|known| *known == suffix);
    if let Some(index) = decimal {
        return Some((0, i32::try_from(index).ok()? * 3 - 9));
    }
    let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    (-MOST_POWERS..=MOST_POWERS).contains(&power).then_some((0, power))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_written_as_clients_in_go_write_them() {
        for (text, wanted) in [
            ("1000m", Some("1")),
            ("0.5", Some("500m")),
            ("100m", Some("100m")),
            ("1024Mi", Some("1Gi")),
            ("1.5Gi", Some("1536Mi")),
            ("128Mi", Some("128Mi")),
            ("1000Ki", Some("1000Ki")),
            ("2000M", Some("2G")),
            ("0Mi", Some("0")),
            ("1", Some("1")),
            ("1e3", None),
            ("much", None),
        ] {
            assert_eq!(canonical(text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        const ONE: i128 = 1_000_000_000;
        for (text, nanos_of_it) in [
            ("0", 0),
            ("1", ONE),
            ("+2", 2 * ONE),
            ("-1", -ONE),
            ("-5m", -5_000_000),
            ("1000m", ONE),
            ("0.5", ONE / 2),
            (".5", ONE / 2),
            ("5.", 5 * ONE),
            ("1k", 1000 * ONE),
            ("1e3", 1000 * ONE),
            ("15E-1", 15 * ONE / 10),
            ("1Ki", 1024 * ONE),
            ("0.5Gi", 512 * 1024 * 1024 * ONE),
            ("16Ei", (16 << 60) * ONE),
            ("1n", 1),
            ("0.1n", 1),
        ] {
            assert_eq!(nanos(text), Some(nanos_of_it), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in [
            "", " ", ".", "m", "-", "--1", "+-1", "1 ", "1.2.3", "1mi", "1MB", "1e", "1e1.5", "0x10", "1e99",
            "NaN",
        ] {
            assert_eq!(nanos(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(text in "[+-]?[0-9.]{0,24}[a-zA-Z0-9-]{0,4}") {
            let _ = nanos(&text);
        }
    }
}
