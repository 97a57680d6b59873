//! The documents of a YAML file. Each is parsed alone, because a file may contain objects of many kinds.

use serde::de::DeserializeOwned;

use super::yaml;

/// The most documents of a file.
const MOST: usize = 1000;
/// Begins a document, at the start of a line, alone or before a space.
const MARKER: &str = "---";

/// A document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    text: &'a str,
    /// The number of lines before it.
    above: usize,
}

/// Returns the documents of a file.
///
/// # Errors
///
/// Returns an error if there are too many.
pub(super) fn split(text: &str) -> Result<Vec<Document<'_>>, String> {
    let mut documents = Vec::new();
    let (mut start, mut above, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let begins = line.strip_prefix(MARKER).is_some_and(|rest| rest.trim_start().len() < rest.len());
        if (begins || line == MARKER) && at > start {
            documents.push(Document { text: &text[start..at], above });
            (start, above) = (at, number);
        }
        at += line.len();
    }
    documents.push(Document { text: &text[start..], above });
    if documents.len() > MOST {
        return Err(format!("{} documents; want at most {MOST}", documents.len()));
    }
    Ok(documents)
}

impl Document<'_> {
    /// Parses the document.
    ///
    /// # Errors
    ///
    /// Returns the problem and its place in the file, in one line.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_saphyr::from_str(self.text).or_else(|_| {
            // Once more, with lines above it, for the place in the file.
            let placed = format!("{}{}", "\n".repeat(self.above), self.text);
            serde_saphyr::from_str(&placed).map_err(|error| yaml::problem(&error))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn texts(text: &str) -> Vec<(usize, &str)> {
        split(text).unwrap().into_iter().map(|document| (document.above, document.text)).collect()
    }

    #[test]
    fn documents_begin_where_yaml_has_them() {
        for (text, expected) in [
            ("", &[(0, "")][..]),
            ("a: 1\n", &[(0, "a: 1\n")]),
            ("---\na: 1", &[(0, "---\na: 1")]),
            ("a: 1\n---\nb: 2\n---", &[(0, "a: 1\n"), (1, "---\nb: 2\n"), (3, "---")]),
            ("a: 1\r\n--- # two\r\nb: 2", &[(0, "a: 1\r\n"), (1, "--- # two\r\nb: 2")]),
            ("a: |\n  ---\n----\n---x\n", &[(0, "a: |\n  ---\n----\n---x\n")]),
        ] {
            assert_eq!(texts(text), expected, "{text:?}");
        }
        assert!(split(&"---\n".repeat(MOST + 1)).unwrap_err().contains("1001 documents"));
    }

    #[test]
    fn a_problem_is_told_with_its_place_in_the_file() {
        let documents = split("a: 1\n---\nb: 2\nb: 3\n--- {c: x}\n").unwrap();
        let parse = |index: usize| documents[index].parse::<BTreeMap<String, i32>>();
        assert_eq!(parse(0), Ok(BTreeMap::from([("a".to_owned(), 1)])));
        assert_eq!(
            parse(1).unwrap_err(),
            "line 4 column 1: the key b stands here a second time; want each key once"
        );
        assert!(parse(2).unwrap_err().contains("line 5 column"), "{:?}", parse(2));
    }
}
