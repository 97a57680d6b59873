//! A command without the `--` that separates it from our own options.

use std::ffi::OsString;

use clap::{
    Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Returns `error`, with the command line that was probably meant if only the dashes are missing in `line`,
/// which begins with our own name.
pub(crate) fn missing(mut error: Error, line: &[OsString]) -> Error {
    if let Some(meant) = meant(&error, line) {
        let tip = format!("put the command of a pod after `--`: {meant}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

fn meant(error: &Error, line: &[OsString]) -> Option<String> {
    let words: Vec<_> = line.iter().map(|word| word.to_string_lossy()).collect();
    if error.kind() != ErrorKind::UnknownArgument || words.get(1)? != "run" || words.iter().any(|w| w == "--")
    {
        return None;
    }
    let Some(ContextValue::String(unexpected)) = error.get(ContextKind::InvalidArg) else { return None };
    if unexpected.starts_with('-') {
        return None;
    }
    let at = words.iter().skip(2).position(|word| word == unexpected)? + 2;
    Some(format!("ebb {} -- {}", words[1..at].join(" "), words[at..].join(" ")))
}
