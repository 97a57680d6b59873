//! Amounts of resources, as `500m` or `1Gi`.

/// The longest quantity, in bytes; Kubernetes' own have at most 18 digits and a suffix.
const LONGEST: usize = 32;
const SUFFIXES: [&str; 16] =
    ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// Returns whether `text` is a quantity of at least 0.
pub(super) fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let (number, suffix) = unsigned.split_at(unsigned.find(|c| !is_of_a_number(c)).unwrap_or(unsigned.len()));
    text.len() <= LONGEST && is_number(number) && (SUFFIXES.contains(&suffix) || is_exponent(suffix))
}

fn is_of_a_number(c: char) -> bool {
    c.is_ascii_digit() || c == '.'
}

/// Returns whether there are digits with at most one point.
fn is_number(text: &str) -> bool {
    text.chars().all(is_of_a_number)
        && text.contains(|c: char| c.is_ascii_digit())
        && text.matches('.').count() <= 1
}

fn is_exponent(suffix: &str) -> bool {
    let Some(signed) = suffix.strip_prefix(['e', 'E']) else { return false };
    let digits = signed.strip_prefix(['+', '-']).unwrap_or(signed);
    !digits.is_empty() && digits.len() <= 2 && digits.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_a_number_and_a_suffix_that_kubernetes_knows() {
        for text in
            ["0", "1", "400m", "1.5", ".5", "2.", "100M", "64Mi", "1Gi", "8Ei", "1e3", "12E-2", "+1", "5E"]
        {
            assert!(is_quantity(text), "{text}");
        }
        for text in [
            "",
            "m",
            ".",
            "-1",
            "1.2.3",
            "1 Gi",
            "1GiB",
            "1gb",
            "1e",
            "1e+",
            "1e100",
            "0x1",
            "٣",
            "1K",
            "++1",
            "111111111111111111111111111111111",
        ] {
            assert!(!is_quantity(text), "{text}");
        }
    }
}
