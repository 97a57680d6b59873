//! How vectors are carried: compressed, each file by itself, the same bytes for the same text.

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
};

use flate2::{Compression, GzBuilder, read::GzDecoder};

use crate::RECORDED;

/// Text of one file at most: several times that of the longest.
const MAX_BYTES: u64 = 64 << 20;

/// Compresses what was [`RECORDED`], and nothing else, from the plain files in `from` into `to`.
///
/// # Errors
///
/// If a file is missing or cannot be read or written; its name is in the error.
pub fn pack(from: &Path, to: &Path) -> io::Result<()> {
    for file in RECORDED {
        fs::read(from.join(file))
            .and_then(|text| compressed(&text))
            .and_then(|bytes| fs::write(to.join(compressed_name(file)), bytes))
            .map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))?;
    }
    Ok(())
}

/// `text`, compressed. No name, time or system goes into it.
///
/// # Errors
///
/// None that memory would not give.
pub fn compressed(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    encoder.write_all(text)?;
    encoder.finish()
}

pub(crate) fn decompressed(bytes: &[u8]) -> io::Result<String> {
    let mut text = String::new();
    GzDecoder::new(bytes).take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

pub(crate) fn compressed_name(file: &str) -> String {
    format!("{file}.gz")
}
