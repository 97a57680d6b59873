use std::{env, path::PathBuf};

use crate::{
    cluster::StartError,
    config::Service,
    container::{Container, Engine, Image, Place},
    process::{What, check_command},
};

/// What the pods of a service run.
#[derive(Debug)]
pub(crate) enum App {
    /// A program.
    Program(What),
    /// A container's command, in this folder.
    Command(Container, Option<PathBuf>),
    /// A container's image.
    Image(Container, Image, Engine),
}

impl App {
    /// Returns what the pods of `service` run, if that is there.
    ///
    /// # Errors
    ///
    /// Returns an error if the program is not found, or no engine for an image.
    pub(crate) fn of(service: Service) -> Result<Self, StartError> {
        let name = service.name;
        let app = match service.container {
            None => Self::Program(What {
                command: service.command,
                directory: service.directory,
                environment: service.environment,
                running: None,
            }),
            Some(container) => match container.place.clone() {
                Place::Host { folder } => Self::Command(container, folder),
                Place::Engine(image) => {
                    let path = env::var_os("PATH").unwrap_or_default();
                    let Some(engine) = Engine::find(&path) else {
                        return Err(StartError::NoEngine { service: name, image: image.name });
                    };
                    Self::Image(container, image, engine)
                }
            },
        };
        // The names and the port of a pod are not known yet; a program does not depend on them.
        check_command(&name, &app.what(0, "", &name))?;
        Ok(app)
    }

    /// Returns what to start for the pod `pod` of `service`, whose app listens on `port`.
    pub(crate) fn what(&self, port: u16, pod: &str, service: &str) -> What {
        let port = port.to_string();
        let variables = [("PORT", &*port), ("EBB_POD", pod), ("EBB_SERVICE", service)];
        match self {
            Self::Program(program) => {
                let mut what = program.clone();
                let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
                what.environment.extend(variables);
                what
            }
            Self::Command(container, folder) => container.on_host(folder.as_ref(), &variables),
            Self::Image(container, image, engine) => {
                // A pod that starts again is another container: the engine may still remove the last one.
                let name = format!("ebb-{pod}-{:08x}", rand::random::<u32>());
                container.in_engine(image, engine, name, &variables)
            }
        }
    }
}
