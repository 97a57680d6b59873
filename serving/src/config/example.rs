//! Guards the key `_example`: whoever edits it probably wanted to change a setting.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use super::EXAMPLE;

/// The annotation with the checksum that the example had when it was installed.
const CHECKSUM: &str = "knative.dev/example-checksum";

/// Returns what is wrong with the example of a map; `None` also if there is no example, or no checksum to compare with.
pub fn example_fault(map: &ConfigMap) -> Option<String> {
    let example = map.data.as_ref()?.get(EXAMPLE)?;
    let is_edited = *map.annotations().get(CHECKSUM)? != checksum(example);
    is_edited.then(|| {
        format!(
            "the update modifies a key in {EXAMPLE:?} which is probably not what you want. Instead, copy the \
             respective setting to the top-level of the ConfigMap, directly below {:?}",
            "data"
        )
    })
}

/// Returns the checksum of a text. Space around it does not count, and line breaks that follow each other count as one
/// backslash and one `n`.
fn checksum(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut is_broken = false;
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        let is_break = c == '\n' || (c == '\r' && chars.peek() == Some(&'\n'));
        match (is_break, is_broken) {
            (true, true) => {}
            (true, false) => plain.push_str("\\n"),
            (false, _) => plain.push(c),
        }
        is_broken = is_break;
    }
    format!("{:08x}", crc32fast::hash(plain.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_reference() {
        for (text, sum) in [
            ("", "00000000"),
            ("1", "83dcefb7"),
            ("a somewhat\nlonger\ntext", "2b4ed320"),
            ("a somewhat\n\n\nlonger\n\ntext", "2b4ed320"),
            ("a somewhat\r\n\r\n\r\nlonger\r\n\r\ntext", "2b4ed320"),
            ("   a somewhat longer test\t\t\t", "fefe6f72"),
            ("a somewhat longer test", "fefe6f72"),
        ] {
            assert_eq!(checksum(text), sum, "{text:?}");
        }
    }

    #[test]
    fn a_carriage_return_alone_is_no_line_break() {
        assert_ne!(checksum("a\rb"), checksum("a\nb"));
        assert_eq!(checksum("a\n\r\nb"), checksum("a\nb"));
        assert_ne!(checksum("a\r\rb"), checksum("a\rb"));
    }

    #[test]
    fn an_edited_example_is_a_fault_and_a_map_without_example_or_checksum_is_not() {
        let map = |example: Option<&str>, sum: Option<&str>| {
            let mut map = ConfigMap::default();
            map.data = example.map(|text| [(EXAMPLE.to_owned(), text.to_owned())].into());
            map.metadata.annotations = sum.map(|sum| [(CHECKSUM.to_owned(), sum.to_owned())].into());
            map
        };
        assert_eq!(example_fault(&map(Some("1"), Some("83dcefb7"))), None);
        assert_eq!(example_fault(&map(Some("1"), None)), None);
        assert_eq!(example_fault(&map(None, Some("83dcefb7"))), None);
        let text = "the update modifies a key in \"_example\" which is probably not what you want. Instead, copy the \
                    respective setting to the top-level of the ConfigMap, directly below \"data\"";
        assert_eq!(example_fault(&map(Some("2"), Some("83dcefb7"))).as_deref(), Some(text));
    }
}
