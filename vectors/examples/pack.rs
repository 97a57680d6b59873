//! Refreshes the vectors that the repository carries from a folder of plain ones.

use std::{path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let Some(from) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: cargo run -p ebb-vectors --example pack -- FOLDER");
        return ExitCode::from(64);
    };
    match ebb_vectors::pack(&from, &ebb_vectors::carried()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", from.display());
            ExitCode::FAILURE
        }
    }
}
