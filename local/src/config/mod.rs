//! What to run: from the command line, from a Kubernetes Service manifest, from an `ebb.yaml`, or from
//! Services of Knative Serving.

mod documents;
mod file;
mod files;
mod knative;
mod manifest;
mod text;
mod yaml;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use ebb_annotations::{
    ClusterDefaults, Exposure, Fault, Reachability, RouteSpec, ScalingSpec, Warning, is_route, keys, parse,
    parse_route,
};
use ebb_core::Host;
use thiserror::Error;

pub use files::{Described, Wishes, read as read_files};
pub use manifest::read as read_manifest;

use crate::container::Container;

/// A service to run.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name, an RFC 1123 label.
    pub name: String,
    /// The port for clients; 0 takes any free one.
    pub port: u16,
    /// The program of its pods and its arguments; empty for a route, and if its pods run `container`.
    pub command: Vec<String>,
    /// The working directory of its pods; `None` means that of this process.
    pub directory: Option<PathBuf>,
    /// Environment variables of its pods, in addition to those of this process.
    pub environment: BTreeMap<String, String>,
    /// What its pods run if they have no `command`.
    pub container: Option<Container>,
    /// Its annotations, by their full keys.
    pub annotations: BTreeMap<String, String>,
}

/// A service with its annotations parsed.
#[derive(Clone, Debug)]
pub struct Understood {
    /// The service as it was given.
    pub service: Service,
    /// Whether it has pods or is a route.
    pub role: Role,
    /// How the gateway exposes it. There are no Secrets on one machine, and so no TLS.
    pub exposure: Exposure,
    /// Annotations that have no effect.
    pub warnings: Vec<Warning>,
}

/// The role of a service.
#[derive(Clone, Debug)]
pub enum Role {
    /// It has pods, scaled and served by this spec.
    Pods(Box<ScalingSpec>),
    /// It splits its requests between other services.
    Route(RouteSpec),
}

/// An error in what was to be run. Nothing was started.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// A file has the wrong content.
    #[error("{path}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where the problem is, and how to fix it.
        problem: String,
    },
    /// Two files contradict each other.
    #[error("{path}: {problem} in {other}")]
    Contradiction {
        /// The later file.
        path: PathBuf,
        /// What it says that the other one says too.
        problem: String,
        /// The earlier file.
        other: PathBuf,
    },
    /// Annotations of a service are invalid.
    #[error("service {service}: {}", lines(faults))]
    Annotations {
        /// The service.
        service: String,
        /// All faults.
        faults: Vec<Fault>,
    },
    /// Another problem of a service.
    #[error("service {service:?}: {problem}")]
    Service {
        /// The service.
        service: String,
        /// The problem, and how to fix it.
        problem: String,
    },
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

/// The default for the most pods of a service: a laptop has no scheduler that would refuse.
const MAX_SCALE: u32 = 100;

/// Returns the cluster's defaults for one machine, which differ in part from the reference's.
pub fn local_defaults() -> ClusterDefaults {
    ClusterDefaults {
        allow_zero_initial_scale: true,
        max_scale: MAX_SCALE.try_into().ok(),
        // There is no network that would have to change.
        scale_to_zero_grace_period: Duration::from_secs(1),
        // A process starts within seconds or never.
        progress_deadline: Duration::from_secs(60),
        ..ClusterDefaults::default()
    }
}

impl Service {
    /// Parses the annotations.
    ///
    /// # Errors
    ///
    /// Returns all faults of the service at once.
    pub fn understand(self, defaults: &ClusterDefaults) -> Result<Understood, ConfigError> {
        if !ebb_core::ServiceKey::is_valid_name(&self.name) {
            let problem =
                "not a name for a service: want 1 to 63 of a-z, 0-9 and '-', not at the ends".to_owned();
            return Err(ConfigError::Service { service: self.name, problem });
        }
        let understood = if is_route(&self.annotations) {
            parse_route(&self.name, &self.annotations)
                .map(|route| (Role::Route(route.spec), route.exposure, route.warnings))
        } else {
            parse(&self.annotations, defaults, Reachability::Reachable)
                .map(|parsed| (Role::Pods(Box::new(parsed.spec)), parsed.exposure, parsed.warnings))
        };
        let split = keys::SPLIT.name;
        let problem = match (&understood, self.command.is_empty() && self.container.is_none()) {
            (Ok((Role::Route(_), ..)), false) => {
                format!("has a command and {split}; want one of the two: a route has no pods of its own")
            }
            (Ok((Role::Pods(_), ..)), true) => {
                format!("has no command; want a program and its arguments, or {split} for a route")
            }
            _ => String::new(),
        };
        if !problem.is_empty() {
            return Err(ConfigError::Service { service: self.name, problem });
        }
        match understood {
            Ok((role, exposure, warnings)) => Ok(Understood { service: self, role, exposure, warnings }),
            Err(faults) => Err(ConfigError::Annotations { service: self.name, faults }),
        }
    }
}

/// Parses all `services` of one machine, which may be routes to one another.
///
/// # Errors
///
/// Returns all faults of all services at once.
pub fn understand(
    services: Vec<Service>,
    defaults: &ClusterDefaults,
) -> Result<Vec<Understood>, Vec<ConfigError>> {
    let mut faults = Vec::new();
    let names: Vec<(String, bool)> =
        services.iter().map(|service| (service.name.clone(), is_route(&service.annotations))).collect();
    let mut understood = Vec::with_capacity(services.len());
    for service in services {
        match service.understand(defaults) {
            Ok(one) => {
                faults.extend(strangers(&one, &names));
                faults.extend(taken(&one, &understood));
                understood.push(one);
            }
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(understood) } else { Err(faults) }
}

/// Returns an error if a host is already used by one of `others`.
fn taken(understood: &Understood, others: &[Understood]) -> Option<ConfigError> {
    let owner = |host: &Host| {
        let other = others.iter().find(|other| other.exposure.hosts.contains(host))?;
        Some(format!("asks for {host}, which {} asks for", other.service.name))
    };
    let problems: Vec<String> = understood.exposure.hosts.iter().filter_map(owner).collect();
    let problem = format!("{}; want each name once", problems.join(", "));
    let service = understood.service.name.clone();
    (!problems.is_empty()).then_some(ConfigError::Service { service, problem })
}

/// Returns an error if a route names a service that does not exist or is a route. `names` are those that
/// exist, and whether each is a route.
fn strangers(understood: &Understood, names: &[(String, bool)]) -> Option<ConfigError> {
    let Role::Route(route) = &understood.role else { return None };
    let problem = |service: &str| match names.iter().find(|(name, _)| name == service) {
        None => Some(format!("sends requests to {service}, which is not there")),
        Some((_, true)) => Some(format!("sends requests to {service}, which is a route itself")),
        Some((_, false)) => None,
    };
    let problems: Vec<String> = route.split.iter().filter_map(|share| problem(&share.service)).collect();
    let service = understood.service.name.clone();
    let problem = format!("{}; want services that have a command", problems.join(", "));
    (!problems.is_empty()).then_some(ConfigError::Service { service, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, command: &[&str], annotations: &[(&str, &str)]) -> Service {
        Service {
            name: name.to_owned(),
            port: 0,
            command: command.iter().map(|&word| word.to_owned()).collect(),
            directory: None,
            environment: BTreeMap::new(),
            container: None,
            annotations: annotations
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    fn faults(services: Vec<Service>) -> Vec<String> {
        let faults = understand(services, &local_defaults()).err().unwrap_or_default();
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_route_names_services_that_have_pods() {
        let split = |text| [(keys::SPLIT.name, text)];
        let all = |text| {
            vec![
                service("v1", &["x"], &[]),
                service("v2", &["x"], &[]),
                service("other", &[], &split("v1")),
                service("hello", &[], &split(text)),
            ]
        };
        assert_eq!(faults(all("v1=90, v2=10")), [""; 0]);
        assert_eq!(
            faults(all("v1=90, v3=10, other=1")),
            [
                "service \"hello\": sends requests to v3, which is not there, sends requests to other, which is a route \
              itself; want services that have a command"
            ]
        );
        assert_eq!(
            faults(all("hello=1")),
            ["service hello: ebb.dev/split: \"hello\" is the route itself; want a Service that Ebb scales"]
        );
    }

    #[test]
    fn what_is_neither_pods_nor_a_route_or_both_is_refused() {
        for (command, annotations, problem) in [
            (&["x"][..], &[(keys::SPLIT.name, "v1")][..], "has a command and ebb.dev/split"),
            (&[], &[], "has no command; want a program and its arguments, or ebb.dev/split for a route"),
        ] {
            let faults = faults(vec![service("v1", &["x"], &[]), service("hello", command, annotations)]);
            assert!(faults.len() == 1 && faults[0].contains(problem), "{faults:?}");
        }
    }
}
