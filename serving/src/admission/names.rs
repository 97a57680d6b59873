//! Which names Kubernetes accepts, and its words about others.
//!
//! Each function returns what is wrong with a name, in Kubernetes' own words; nothing if it is accepted.

/// The longest label, in bytes.
const LONGEST_LABEL: usize = 63;
/// The longest subdomain, in bytes.
const LONGEST_SUBDOMAIN: usize = 253;

const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
     alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
     validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1123: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
     start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_1123: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
     '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
     alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// Examines a label of DNS, which begins with a letter, as names of Services do.
pub fn dns_1035_label(name: &str) -> Vec<String> {
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    let is_label = begins && is_label(name);
    of_length(name, LONGEST_LABEL).chain((!is_label).then(|| LABEL_1035.to_owned())).collect()
}

/// Examines what the API server will put five characters behind.
pub fn dns_1035_prefix(prefix: &str) -> Vec<String> {
    // The prefix may end with a dash, as the name will not. Bytes of half a character are no label.
    let cut = prefix.strip_suffix('-').filter(|rest| !rest.is_empty());
    let cut = cut.and_then(|rest| rest.get(..rest.len() - 1)).map(|rest| format!("{rest}a"));
    dns_1035_label(cut.as_deref().unwrap_or(prefix))
}

/// Examines a label of DNS, which may begin with a digit.
pub fn dns_1123_label(name: &str) -> Vec<String> {
    of_length(name, LONGEST_LABEL).chain((!is_label(name)).then(|| LABEL_1123.to_owned())).collect()
}

/// Examines labels of DNS with dots between them, as most names of objects are.
pub fn dns_1123_subdomain(name: &str) -> Vec<String> {
    let is_subdomain = name.split('.').all(is_label);
    of_length(name, LONGEST_SUBDOMAIN).chain((!is_subdomain).then(|| SUBDOMAIN_1123.to_owned())).collect()
}

/// Examines a key of labels and annotations: a name, perhaps with a subdomain and `/` before it.
pub fn qualified_name(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.splitn(3, '/').collect();
    let (mut wrong, name) = match parts[..] {
        [name] => (Vec::new(), name),
        ["", name] => (vec!["prefix part must be non-empty".to_owned()], name),
        [prefix, name] => {
            let wrong = dns_1123_subdomain(prefix);
            (wrong.into_iter().map(|why| format!("prefix part {why}")).collect(), name)
        }
        _ => {
            let rest = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {QUALIFIED} {rest}")];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    }
    wrong.extend(of_length(name, LONGEST_LABEL).map(|why| format!("name part {why}")));
    if !is_qualified(name) {
        wrong.push(format!("name part {QUALIFIED}"));
    }
    wrong
}

/// Examines the name of a domain with at least two labels, which may end with a dot. Returns what is wrong with the
/// field `field`.
pub fn domain(field: &str, name: &str) -> Option<String> {
    if name.is_empty() {
        return Some(format!("{field}: Required value"));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let invalid = |name: &str, why: &[String]| format!("{field}: Invalid value: {name:?}: {}", why.join(","));
    let wrong = dns_1123_subdomain(name);
    if !wrong.is_empty() {
        return Some(invalid(name, &wrong));
    }
    if !name.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        return Some(invalid(name, &[why.to_owned()]));
    }
    name.split('.').find_map(|label| {
        let wrong = dns_1123_label(label);
        (!wrong.is_empty()).then(|| invalid(label, &wrong))
    })
}

/// Returns texts as Go prints a list.
pub fn list(texts: &[String]) -> String {
    format!("[{}]", texts.join(" "))
}

fn of_length(name: &str, longest: usize) -> impl Iterator<Item = String> {
    (name.len() > longest).then(|| format!("must be no more than {longest} characters")).into_iter()
}

/// Returns whether it is a label of any length.
fn is_label(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.bytes().all(is_inner) && !name.starts_with('-') && !name.ends_with('-')
}

fn is_qualified(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_end = |end: Option<u8>| end.is_some_and(|end| end.is_ascii_alphanumeric());
    name.bytes().all(is_inner) && is_end(name.bytes().next()) && is_end(name.bytes().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_LONG: &str = "must be no more than 63 characters";

    #[test]
    fn labels_are_of_lower_case_letters_digits_and_dashes() {
        let long = "a".repeat(63);
        for good in ["a", "my-name", "abc-123", &long] {
            assert_eq!((dns_1035_label(good), dns_1123_label(good)), (vec![], vec![]), "{good}");
        }
        assert_eq!(
            (dns_1035_label("123-abc"), dns_1123_label("123-abc")),
            (vec![LABEL_1035.to_owned()], vec![])
        );
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä"] {
            assert_eq!(dns_1035_label(bad), [LABEL_1035], "{bad}");
            assert_eq!(dns_1123_label(bad), [LABEL_1123], "{bad}");
        }
        assert_eq!(dns_1035_label(&"A".repeat(64)), [TOO_LONG, LABEL_1035]);
        assert_eq!(dns_1123_label(&"a".repeat(64)), [TOO_LONG]);
    }

    #[test]
    fn a_prefix_may_end_with_a_dash() {
        for good in ["a", "ab-", "a--", "my-name-"] {
            assert_eq!(dns_1035_prefix(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["", "-", "1a-", "a.b-", "ä-", "A-b"] {
            assert_eq!(dns_1035_prefix(bad), [LABEL_1035], "{bad}");
        }
    }

    #[test]
    fn subdomains_are_labels_with_dots() {
        let long = format!("{}.a", "a".repeat(251));
        for good in ["a", "example.com", "1.2.3", &long] {
            assert_eq!(dns_1123_subdomain(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["", ".a", "a..b", "foo@bar.baz", "A.com", "-a.b"] {
            assert_eq!(dns_1123_subdomain(bad), [SUBDOMAIN_1123], "{bad}");
        }
        assert_eq!(dns_1123_subdomain(&format!("{long}a")), ["must be no more than 253 characters"]);
    }

    #[test]
    fn the_words_are_those_of_kubernetes_to_the_byte() {
        assert_eq!(
            dns_1123_subdomain("foo@bar.baz"),
            [
                r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(
            list(&dns_1035_label("A")),
            "[a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')]"
        );
        assert_eq!(
            dns_1123_label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
    }

    #[test]
    fn qualified_names_may_have_a_subdomain() {
        for good in ["MyName", "my.name", "a_b", "example.com/MyName", "0"] {
            assert_eq!(qualified_name(good), Vec::<String>::new(), "{good}");
        }
        let name = format!("name part {QUALIFIED}");
        for (bad, wrong) in [
            ("", vec!["name part must be non-empty", &name]),
            ("-a", vec![&name]),
            ("a b", vec![&name]),
            ("/a", vec!["prefix part must be non-empty"]),
            ("a/", vec!["name part must be non-empty", &name]),
            ("A/b", vec![&format!("prefix part {SUBDOMAIN_1123}")]),
            (&"a".repeat(64), vec![&format!("name part {TOO_LONG}")]),
        ] {
            assert_eq!(qualified_name(bad), wrong, "{bad}");
        }
        assert!(qualified_name("a/b/c")[0].starts_with("a qualified name must consist of"));
    }

    #[test]
    fn a_domain_has_two_labels_that_are_not_too_long() {
        for good in ["example.com", "a.b.", "1.2"] {
            assert_eq!(domain("name", good), None, "{good}");
        }
        let label = "a".repeat(64);
        for (bad, wrong) in [
            ("", "name: Required value".to_owned()),
            ("a_b.c", format!("name: Invalid value: \"a_b.c\": {SUBDOMAIN_1123}")),
            (
                "local",
                "name: Invalid value: \"local\": should be a domain with at least two segments separated by dots"
                    .to_owned(),
            ),
            (&format!("{label}.com"), format!("name: Invalid value: {label:?}: {TOO_LONG}")),
        ] {
            assert_eq!(domain("name", bad), Some(wrong), "{bad}");
        }
    }
}
