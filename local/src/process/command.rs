use std::{env, os::unix::fs::PermissionsExt, path::Path};

use crate::{cluster::StartError, config::Service};

/// Checks, before anything starts, whether a service's program can be run.
pub(crate) fn check(service: &Service) -> Result<(), StartError> {
    let program = service.command.first().map_or("", String::as_str);
    let folder = service.directory.as_deref().unwrap_or(Path::new(""));
    let path = service.environment.get("PATH").map(Into::into).or_else(|| env::var_os("PATH"));
    let found = if program.contains('/') {
        is_program(&folder.join(program))
    } else {
        !program.is_empty()
            && env::split_paths(&path.unwrap_or_default()).any(|folder| is_program(&folder.join(program)))
    };
    if found {
        return Ok(());
    }
    Err(StartError::NoCommand {
        service: service.name.clone(),
        program: program.to_owned(),
        hint: hint(program),
    })
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
