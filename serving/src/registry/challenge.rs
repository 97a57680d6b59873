//! What a registry asks for when it refuses a request: the header `WWW-Authenticate`.

/// How to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// By a name and a password.
    Basic,
    /// By a token of the server at `realm`.
    Bearer {
        /// The URL of that server.
        realm: String,
        /// Who the token is for.
        service: Option<String>,
        /// What the token allows.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads the header; `None` if it asks for neither of the two.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim_start().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest;
        while let Some((name, value, after)) = parameter(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
            rest = after;
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }
}

/// Reads `name=value` or `name="value"`; returns the rest too.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.trim_start_matches([' ', ',']).split_once('=')?;
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([',', ' ']).unwrap_or(rest.len());
        return Some((name.trim(), rest[..end].to_owned(), &rest[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return Some((name.trim(), value, &quoted[index + 1..])),
            '\\' => value.extend(chars.next().map(|(_, char)| char)),
            char => value.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) }
    }

    #[test]
    fn challenges_are_read() {
        for (header, challenge) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            ("Bearer realm=\"https://a/t\"", Some(bearer("https://a/t", None, None))),
            (
                "Bearer realm=\"https://a/t\",service=\"reg\",scope=\"repository:a/b:pull,push\"",
                Some(bearer("https://a/t", Some("reg"), Some("repository:a/b:pull,push"))),
            ),
            (
                "bearer Realm=https://a/t, service=reg , error=\"x\"",
                Some(bearer("https://a/t", Some("reg"), None)),
            ),
            (r#"Bearer realm="a\"b\\c""#, Some(bearer(r#"a"b\c"#, None, None))),
            ("Bearer service=\"reg\"", None),
            ("Bearer realm=\"open", None),
            ("Bearer", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(header), challenge, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_has_an_answer(rest in "\\PC{0,40}") {
            let _ = Challenge::parse(&format!("Bearer {rest}"));
        }
    }
}
