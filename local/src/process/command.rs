use std::{
    env,
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::What;
use crate::cluster::StartError;

/// Checks, before anything starts, whether the program of a service can be run.
pub(crate) fn check(service: &str, what: &What) -> Result<(), StartError> {
    let program = what.command.first().map_or("", String::as_str);
    let folder = what.directory.as_deref().unwrap_or(Path::new(""));
    let path = what.environment.get("PATH").map(Into::into).or_else(|| env::var_os("PATH"));
    let found = if program.contains('/') {
        is_program(&folder.join(program))
    } else {
        find_program(program, &path.unwrap_or_default()).is_some()
    };
    if found {
        return Ok(());
    }
    Err(StartError::NoCommand {
        service: service.to_owned(),
        program: program.to_owned(),
        hint: hint(program),
    })
}

/// Returns where the program `name` is, in `path`, a list of folders as in `PATH`.
pub(crate) fn find_program(name: &str, path: &OsStr) -> Option<PathBuf> {
    let mut places = env::split_paths(path).map(|folder| folder.join(name));
    places.find(|place| !name.is_empty() && is_program(place))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn hint(program: &str) -> &'static str {
    if program.contains(' ') {
        "; a program and its arguments are words of their own: -- CMD ARG…"
    } else if program.contains('/') {
        "; it does not exist or may not be executed"
    } else {
        " in PATH"
    }
}
