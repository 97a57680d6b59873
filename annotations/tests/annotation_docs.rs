//! `docs/annotations.md` says what is so: every key is there, and what it shows is read as it says.

use std::collections::BTreeMap;

use ebb_annotations::{ClusterDefaults, Fault, Reachability, full_key, is_route, keys, parse, parse_route};

const DOCS: &str = include_str!("../../docs/annotations.md");

/// The pairs of an example, `key: "value"` or `key: value` with a comment or without.
fn example(line: &str) -> Option<(String, String)> {
    let (key, rest) = line.split_once(": ")?;
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split(" #").next()?.trim_end(),
    };
    keys::KNOWN.iter().any(|known| known.name == key).then(|| (key.to_owned(), value.to_owned()))
}

/// The blocks of code that are marked with `language`.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let mark = format!("```{language}\n");
    DOCS.split("```")
        .scan(false, move |is_code, part| {
            let block = is_code.then_some(part);
            *is_code = !*is_code;
            Some(block)
        })
        .flatten()
        .filter_map(move |block| block.strip_prefix(&mark["```".len()..]))
}

fn refusals(texts: &BTreeMap<String, String>) -> Vec<String> {
    let refused = if is_route(texts) {
        parse_route("hello", texts).err()
    } else {
        parse(texts, &ClusterDefaults::default(), Reachability::Reachable).err()
    };
    refused.unwrap_or_default().iter().map(Fault::to_string).collect()
}

#[test]
fn every_key_has_a_section_and_its_alias_is_named() {
    let headings: Vec<_> = DOCS.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let mut documented: Vec<_> = headings.iter().flat_map(|heading| heading.split(", ")).collect();
    let mut known: Vec<_> = keys::KNOWN.iter().map(|key| key.name).collect();
    documented.sort_unstable();
    known.sort_unstable();
    assert_eq!(documented, known);
    for alias in keys::KNOWN.iter().filter_map(|key| key.alias) {
        let short = alias.split('/').next_back().unwrap_or(alias);
        assert!(DOCS.contains(&format!("`{short}`")), "{alias}");
    }
}

#[test]
fn examples_are_accepted() {
    let mut examples = 0;
    for block in blocks("yaml") {
        let pairs: Vec<_> = block.lines().filter_map(example).collect();
        assert!(!pairs.is_empty(), "{block}");
        // Some show one annotation several times, others several that belong together.
        let together: BTreeMap<_, _> = pairs.iter().cloned().collect();
        let are_together = together.len() == pairs.len();
        let each = pairs.into_iter().map(|pair| BTreeMap::from([pair]));
        let maps: Vec<_> = if are_together { vec![together] } else { each.collect() };
        for map in maps {
            assert_eq!(refusals(&map), Vec::<String>::new(), "{map:?}");
            examples += 1;
        }
    }
    assert!(examples > 5, "{examples} examples");
}

#[test]
fn refusals_read_as_shown() {
    let mut lines = blocks("text").flat_map(str::lines).filter(|line| line.contains("; want ")).peekable();
    assert!(lines.peek().is_some());
    for line in lines {
        let (key, rest) = line.split_once(": ").expect("a key");
        let value = rest.split('"').nth(1).expect("a value");
        assert_eq!(refusals(&BTreeMap::from([(full_key(key), value.to_owned())])), [line]);
    }
}
