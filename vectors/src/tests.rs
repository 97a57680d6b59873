use std::{collections::BTreeSet, env, process};

use super::*;

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("ebb-vectors-{name}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_carried_is_what_was_recorded_from_the_reference_and_nothing_else() {
    let names: BTreeSet<String> = fs::read_dir(carried())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    assert_eq!(names, RECORDED.map(pack::compressed_name).into());
    for file in RECORDED {
        let vectors = Vectors::load_from(&carried(), file);
        assert_eq!(vectors.value("file"), file);
        let source = vectors.value("source").as_str().unwrap();
        assert!(source.contains("98e5ef90aa"), "{file}: {source}");
    }
}

#[test]
fn packing_again_makes_the_same_bytes() {
    let carried = carried().join("probe_encoding.json.gz");
    let bytes = fs::read(&carried).unwrap();
    let text = pack::decompressed(&bytes).unwrap();
    assert!(text.len() > 100_000, "{} bytes", text.len());
    assert_eq!(compressed(text.as_bytes()).unwrap(), bytes);
}

#[test]
fn another_folder_has_plain_files_and_compressed_ones_and_plain_ones_come_first() {
    let folder = Scratch::new("forms");
    let text = |mark| format!(r#"{{"format_version":1,"mark":{mark}}}"#);
    let write_compressed = |mark| {
        let bytes = compressed(text(mark).as_bytes()).unwrap();
        fs::write(folder.0.join("a.json.gz"), bytes).unwrap();
    };
    write_compressed(1);
    assert_eq!(Vectors::load_from(&folder.0, "a.json").value("mark"), 1);
    fs::write(folder.0.join("a.json"), text(2)).unwrap();
    assert_eq!(Vectors::load_from(&folder.0, "a.json").value("mark"), 2);
}

#[test]
#[should_panic(expected = "missing.json.gz: No such file")]
fn a_file_that_is_missing_fails() {
    Vectors::load_from(&carried(), "missing.json");
}

#[test]
fn a_folder_that_is_named_relatively_lies_in_the_workspace() {
    assert_eq!(folder(None), carried());
    assert_eq!(folder(Some("/v".into())), Path::new("/v"));
    let here = folder(Some("vectors/recorded".into()));
    assert_eq!(here.canonicalize().unwrap(), carried().canonicalize().unwrap());
}

#[test]
fn a_folder_that_lacks_a_file_is_not_packed_in_silence() {
    let folder = Scratch::new("pack");
    let error = pack(&folder.0, &folder.0).unwrap_err();
    assert!(error.to_string().starts_with("aggregation.json: "), "{error}");
}
