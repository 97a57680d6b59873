use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::ConfigError;

/// The largest file that is read. A file of services has some KiB.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads a whole file, if it is a regular file and not too large.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    read_bounded(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })
}

fn read_bounded(path: &Path) -> io::Result<String> {
    // Checked before it is opened: opening a pipe would wait for a writer.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("longer than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        for path in ["/dev/zero", "/tmp", "/nowhere"] {
            assert!(read(Path::new(path)).is_err(), "{path}");
        }
    }
}
