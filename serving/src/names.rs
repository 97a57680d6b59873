//! Names of objects that belong to others.

use std::fmt::Write;

use md5::{Digest, Md5};

/// The longest name of a label or a Service, in bytes.
const LONGEST: usize = 63;
/// The length of an MD5 sum in hexadecimal digits.
const DIGEST: usize = 32;

/// Returns the name of the child of `parent` that has `suffix`: both together, or if that is too long, a part of them
/// with a digest. The reference names its children in the same way, so that a takeover finds them.
pub fn child(parent: &str, suffix: &str) -> String {
    if parent.len() + suffix.len() <= LONGEST {
        return format!("{parent}{suffix}");
    }
    let room = LONGEST - DIGEST;
    if suffix.len() < room {
        return format!("{}{}{suffix}", start(parent, room - suffix.len()), digest(parent));
    }
    let whole = format!("{parent}{suffix}");
    let name = format!("{}{}", start(parent, room), digest(&whole));
    let rest = start(suffix, LONGEST.saturating_sub(name.len()));
    format!("{name}{rest}").trim_end_matches(|last: char| !last.is_ascii_alphanumeric()).to_owned()
}

/// Returns the first `bytes` of `text`, or fewer if there is half a character.
fn start(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn digest(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().fold(String::with_capacity(DIGEST), |mut all, byte| {
        // Writing to a string does not fail.
        let _ = write!(all, "{byte:02x}");
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_whole_and_a_long_one_keeps_its_start_and_its_suffix() {
        assert_eq!(child("hello", "-00001"), "hello-00001");
        let just = "a".repeat(57);
        assert_eq!(child(&just, "-00001"), format!("{just}-00001"));
        let long = "b".repeat(58);
        let name = child(&long, "-00001");
        assert_eq!(name.len(), 63);
        assert!(name.starts_with(&"b".repeat(25)) && name.ends_with("-00001"), "{name}");
        let suffix = "-".repeat(40);
        let odd = child(&long, &suffix);
        assert!(odd.len() <= 63 && odd.starts_with(&"b".repeat(31)), "{odd}");
        assert!(odd.ends_with(|last: char| last.is_ascii_alphanumeric()), "{odd}");
    }

    #[test]
    fn long_names_that_differ_have_children_that_differ() {
        let parents = ["c".repeat(62) + "1", "c".repeat(62) + "2"];
        assert_ne!(child(&parents[0], "-00001"), child(&parents[1], "-00001"));
    }
}
