//! Reads what the reference really computes, for the conformance tests of the other crates.
//!
//! The files lie in the folder that `EBB_VECTORS` names, by default `../shared/vectors` beside the
//! repository. A file that is missing, empty or not of this format fails the test that wants it: a
//! conformance test must never pass because there was nothing to compare.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Largest relative difference of two floats that count as equal.
pub const TOLERANCE: f64 = 1e-9;

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
        let path = folder().join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| {
            panic!("{}: {e}; set EBB_VECTORS to the folder of the vectors", path.display())
        });
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

/// A float of a vector, whose not-a-number and infinities are written as strings.
///
/// # Panics
///
/// If `value` is neither a number nor one of those strings.
pub fn float(value: &Value) -> f64 {
    match value {
        Value::String(text) => match text.as_str() {
            "NaN" => f64::NAN,
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            other => panic!("{other:?} is not a float of a vector"),
        },
        other => other.as_f64().unwrap_or_else(|| panic!("{other} is not a float of a vector")),
    }
}

/// Whether two floats agree to [`TOLERANCE`], not-a-number with itself.
pub fn agree(got: f64, want: f64) -> bool {
    got == want
        || (got.is_nan() && want.is_nan())
        || (got - want).abs() <= TOLERANCE * want.abs().max(got.abs())
}

fn folder() -> PathBuf {
    std::env::var_os("EBB_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"),
        |folder| {
            let folder = PathBuf::from(folder);
            // Tests run in their crate's folder; a relative path means the workspace's.
            if folder.is_relative() {
                Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)
            } else {
                folder
            }
        },
    )
}
