//! A container as Kubernetes describes it. Its command runs on this machine, or its image runs in an engine.
//!
//! Its texts may refer to its variables, as in `--port=$(PORT)`.

mod engine;
mod references;

use std::{collections::BTreeMap, path::PathBuf};

pub(crate) use engine::{Engine, Running};

use crate::process::What;
use references::expand;

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its program, in place of the image's; empty for the image's.
    pub command: Vec<String>,
    /// The arguments.
    pub arguments: Vec<String>,
    /// Its environment variables, in the order in which they may refer to one another.
    pub environment: Vec<(String, String)>,
    /// Where it runs.
    pub place: Place,
}

/// Where a container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine, without its image.
    Host {
        /// The working directory; `None` means that of this process.
        folder: Option<PathBuf>,
    },
    /// In the first engine that is found.
    Engine(Image),
}

/// An image, and how it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name, as in a container.
    pub name: String,
    /// When it is pulled, as in a container: `Always`, `IfNotPresent` or `Never`; `None` leaves it to the
    /// engine.
    pub pull_policy: Option<String>,
    /// The working directory, in place of the image's.
    pub directory: Option<String>,
    /// Where it finds empty volumes, which are deleted with it.
    pub empty_volumes: Vec<String>,
}

impl Container {
    /// Returns what it runs, in a few words.
    pub fn summary(&self) -> String {
        match &self.place {
            Place::Host { .. } => {
                format!("`{}`", self.words().map(String::as_str).collect::<Vec<_>>().join(" "))
            }
            Place::Engine(image) => format!("image {}", image.name),
        }
    }

    /// Returns what to start on this machine for a pod with `variables` besides the container's own.
    pub(crate) fn on_host(&self, folder: Option<&PathBuf>, variables: &[(&str, &str)]) -> What {
        let environment = self.variables(variables);
        What {
            command: self.words().map(|word| expand(word, &environment)).collect(),
            directory: folder.cloned(),
            environment,
            running: None,
        }
    }

    /// Returns what to start to run `image` in `engine`, as a container called `name`.
    pub(crate) fn in_engine(
        &self,
        image: &Image,
        engine: &Engine,
        name: String,
        variables: &[(&str, &str)],
    ) -> What {
        let environment = self.variables(variables);
        let words: Vec<String> = self.words().map(|word| expand(word, &environment)).collect();
        let (entrypoint, arguments) = words.split_at(usize::from(!self.command.is_empty()));
        What {
            command: engine.run(&name, image, &environment, entrypoint.first(), arguments),
            directory: None,
            // Only the container has its variables: `PATH` or `HOME` would mislead the engine.
            environment: BTreeMap::new(),
            running: Some(Running { name, engine: engine.clone() }),
        }
    }

    fn words(&self) -> impl Iterator<Item = &String> {
        self.command.iter().chain(&self.arguments)
    }

    /// Returns all variables. Each may refer to those before it, and of two with the same name the later one
    /// counts.
    fn variables(&self, more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (name, value) in &self.environment {
            let value = expand(value, &all);
            all.insert(name.clone(), value);
        }
        all.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const POD: [(&str, &str); 2] = [("PORT", "20001"), ("EBB_POD", "hello-1")];

    fn container(
        command: &[&str],
        arguments: &[&str],
        environment: &[(&str, &str)],
        place: Place,
    ) -> Container {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Container {
            command: words(command),
            arguments: words(arguments),
            environment: environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            place,
        }
    }

    fn image(name: &str) -> Image {
        Image { name: name.to_owned(), pull_policy: None, directory: None, empty_volumes: Vec::new() }
    }

    fn run(container: &Container, image: &Image) -> Vec<String> {
        let engine = Engine::at(Path::new("/usr/bin/podman"));
        let what = container.in_engine(image, &engine, "ebb-hello-1-0".to_owned(), &POD);
        assert_eq!((what.environment.len(), what.directory), (0, None), "the engine's own are as ours");
        what.command
    }

    #[test]
    fn a_command_on_this_machine_knows_its_port_and_all_variables() {
        let environment = [("NAME", "a"), ("BOTH", "$(NAME)-$(LATER)"), ("LATER", "b"), ("NAME", "c")];
        let folder = Some(PathBuf::from("/srv"));
        let place = Place::Host { folder: folder.clone() };
        let app = container(&["./serve"], &["--port=$(PORT)", "$(BOTH)", "$$(PORT)"], &environment, place);
        let what = app.on_host(folder.as_ref(), &POD);
        assert_eq!(what.command, ["./serve", "--port=20001", "a-$(LATER)", "$(PORT)"]);
        assert_eq!((what.directory, what.running.is_none()), (folder, true));
        let all: Vec<String> =
            what.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(all, ["BOTH=a-$(LATER)", "EBB_POD=hello-1", "LATER=b", "NAME=c", "PORT=20001"]);
        assert_eq!(app.summary(), "`./serve --port=$(PORT) $(BOTH) $$(PORT)`");
    }

    #[test]
    fn an_image_runs_on_the_network_of_this_machine_under_a_name_of_its_own() {
        let plain = image("ghcr.io/team/hello:1");
        let app = container(&[], &["--port=$(PORT)"], &[("NAME", "x")], Place::Engine(plain.clone()));
        let start = ["/usr/bin/podman", "run", "--rm", "--name", "ebb-hello-1-0", "--network", "host"];
        let variables = ["--env", "EBB_POD=hello-1", "--env", "NAME=x", "--env", "PORT=20001"];
        let end = ["ghcr.io/team/hello:1", "--port=20001"];
        assert_eq!(run(&app, &plain), [&start[..], &variables[..], &end[..]].concat());
        assert_eq!(app.summary(), "image ghcr.io/team/hello:1");
    }

    #[test]
    fn a_command_replaces_what_the_image_starts() {
        let whole = Image {
            pull_policy: Some("Always".to_owned()),
            directory: Some("/app".to_owned()),
            empty_volumes: vec!["/tmp/a".to_owned()],
            ..image("hello")
        };
        let app = container(&["serve", "-v"], &["x"], &[], Place::Engine(whole.clone()));
        let command = run(&app, &whole).join(" ");
        assert!(
            command.ends_with(
                "--pull always --workdir /app --volume /tmp/a --env EBB_POD=hello-1 --env PORT=20001 \
                 --entrypoint serve hello -v x"
            ),
            "{command}"
        );
    }
}
