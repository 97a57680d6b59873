//! Engines that run images: podman and docker, whose command lines are the same as far as they are used here.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::Image;
use crate::process::find_program;

/// The programs, in the order of preference: podman needs no daemon.
const PROGRAMS: [&str; 2] = ["podman", "docker"];

/// A program that runs images.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Engine(PathBuf);

impl Engine {
    /// Returns the first engine in `path`, a list of folders as in `PATH`.
    pub(crate) fn find(path: &OsStr) -> Option<Self> {
        PROGRAMS.iter().find_map(|program| find_program(program, path)).map(Self)
    }

    pub(crate) fn at(program: &Path) -> Self {
        Self(program.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the command that runs `image` as the container `name`, until the app ends. `entrypoint` is its
    /// program in place of the image's.
    ///
    /// The container has the network of this machine, so that its app listens on the pod's port as a process
    /// does: a port that the engine forwards would take connections before the app does.
    pub(super) fn run(
        &self,
        name: &str,
        image: &Image,
        environment: &BTreeMap<String, String>,
        entrypoint: Option<&String>,
        arguments: &[String],
    ) -> Vec<String> {
        let pull = image.pull_policy.as_deref().and_then(|policy| match policy {
            "Always" => Some("always"),
            "IfNotPresent" => Some("missing"),
            "Never" => Some("never"),
            _ => None,
        });
        let variables: Vec<String> =
            environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let options = [("--name", name), ("--network", "host")]
            .into_iter()
            .chain(pull.map(|when| ("--pull", when)))
            .chain(image.directory.iter().map(|directory| ("--workdir", directory.as_str())))
            .chain(image.empty_volumes.iter().map(|volume| ("--volume", volume.as_str())))
            .chain(variables.iter().map(|variable| ("--env", variable.as_str())))
            .chain(entrypoint.map(|program| ("--entrypoint", program.as_str())));
        let mut command = vec![self.0.display().to_string(), "run".to_owned(), "--rm".to_owned()];
        command.extend(options.flat_map(|(option, value)| [option.to_owned(), value.to_owned()]));
        command.push(image.name.clone());
        command.extend(arguments.iter().cloned());
        command
    }
}

/// A container that may be running. The process that started it only speaks for it: if that process is
/// killed, the container runs on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Running {
    /// Its name, which no other container ever had.
    pub(crate) name: String,
    pub(crate) engine: Engine,
}

impl Running {
    /// Returns the command that kills the container. It fails if the container has ended, which is the usual
    /// case.
    pub(crate) fn kill(&self) -> Command {
        let mut command = Command::new(self.engine.path());
        command.args(["kill", &self.name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn podman_comes_before_docker_and_must_be_a_program() {
        let root = env::temp_dir().join(format!("ebb-engine-test-{}", std::process::id()));
        let program = |folder: &str, name: &str, mode: u32| {
            let path = root.join(folder).join(name);
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let docker = program("first", "docker", 0o755);
        let podman = program("second", "podman", 0o755);
        program("text", "podman", 0o644);
        let find = |folders: &[&str]| {
            let path = env::join_paths(folders.iter().map(|folder| root.join(folder))).unwrap();
            Engine::find(&path).map(|engine| engine.path().to_owned())
        };
        let found = [&["first", "second"][..], &["text", "first"], &["text"], &[]].map(find);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [Some(podman), Some(docker), None, None]);
    }
}
