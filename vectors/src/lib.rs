//! What the reference really computes, and its reader, for the conformance tests of the other crates.
//!
//! The files that were recorded from it are carried in `recorded/`, compressed; [`RECORDED`] names them and
//! the README beside them says what they are. `EBB_VECTORS` names another folder to read instead, whose
//! files may be plain (`autoscaler.json`) or compressed (`autoscaler.json.gz`). A file that is missing, empty
//! or not of this format fails the test that wants it: a conformance test must never pass because there was
//! nothing to compare.
//!
//! What is carried is refreshed from a folder of plain files by
//!
//! ```sh
//! cargo run -p ebb-vectors --example pack -- FOLDER
//! ```
//!
//! which makes the same bytes of the same files whenever and wherever it runs.

mod form;
mod pack;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

pub use form::{agree, float, instant, integer, list, millis};
pub use pack::{compressed, pack};

/// The files that are carried.
pub const RECORDED: [&str; 9] = [
    "aggregation.json",
    "annotations.json",
    "autoscaler.json",
    "breaker.json",
    "collector.json",
    "probe_encoding.json",
    "request_stats.json",
    "scale_to_zero.json",
    "throttler.json",
];

/// One file of vectors.
#[derive(Debug)]
pub struct Vectors {
    path: PathBuf,
    root: Value,
}

impl Vectors {
    /// Reads `file`, for example `"autoscaler.json"`.
    ///
    /// # Panics
    ///
    /// If the file cannot be read, is not JSON, or is not of format version 1.
    pub fn load(file: &str) -> Self {
        Self::load_from(&folder(std::env::var_os("EBB_VECTORS").map(PathBuf::from)), file)
    }

    fn load_from(folder: &Path, file: &str) -> Self {
        let (path, text) = text_of(folder, file);
        let text = text.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let root: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: not JSON: {e}", path.display()));
        assert_eq!(root["format_version"], 1, "{}: format_version", path.display());
        Self { path, root }
    }

    /// The rows of `section`.
    ///
    /// # Panics
    ///
    /// If the section is missing or empty.
    pub fn rows(&self, section: &str) -> &[Value] {
        match self.root.get(section).and_then(Value::as_array) {
            Some(rows) if !rows.is_empty() => rows,
            _ => panic!("{}: section {section:?} is missing or empty", self.path.display()),
        }
    }

    /// The value called `name` at the top of the file.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn value(&self, name: &str) -> &Value {
        self.root.get(name).unwrap_or_else(|| panic!("{}: {name:?} is missing", self.path.display()))
    }
}

/// The folder that is carried.
pub fn carried() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded")
}

/// The folder to read: the one that was `named`, or else the one that is carried.
fn folder(named: Option<PathBuf>) -> PathBuf {
    // Tests run in their crate's folder; a relative path means the workspace's. An absolute one stays.
    named.map_or_else(carried, |named| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(named))
}

/// The text of `file` in `folder`, plain or else compressed, and where it was looked for last.
fn text_of(folder: &Path, file: &str) -> (PathBuf, io::Result<String>) {
    let plain = folder.join(file);
    match fs::read_to_string(&plain) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let compressed = folder.join(pack::compressed_name(file));
            let text = fs::read(&compressed).and_then(|bytes| pack::decompressed(&bytes));
            (compressed, text)
        }
        text => (plain, text),
    }
}

#[cfg(test)]
mod tests;
