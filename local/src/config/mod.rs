//! What to run: from the command line, from a Kubernetes Service manifest, or from an `ebb.yaml`.

mod file;
mod manifest;
mod text;
mod yaml;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use ebb_annotations::{ClusterDefaults, Fault, Reachability, ScalingSpec, Warning, parse};
use thiserror::Error;

pub use file::read as read_file;
pub use manifest::read as read_manifest;

/// One service to run.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name, an RFC 1123 label.
    pub name: String,
    /// The port on which clients reach it; 0 takes any that is free.
    pub port: u16,
    /// The program of its pods and its arguments; never empty.
    pub command: Vec<String>,
    /// Where its pods run; `None` is where we do.
    pub directory: Option<PathBuf>,
    /// What its pods have in their environment beside ours.
    pub environment: BTreeMap<String, String>,
    /// Its annotations, by their full keys.
    pub annotations: BTreeMap<String, String>,
}

/// A service whose annotations were understood.
#[derive(Clone, Debug)]
pub struct Understood {
    /// As it was given.
    pub service: Service,
    /// How it is scaled and served.
    pub spec: ScalingSpec,
    /// What it says in vain.
    pub warnings: Vec<Warning>,
}

/// Something that cannot be run as it was given. Nothing was started.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it, and what would be right.
        problem: String,
    },
    /// Annotations of a service cannot be used.
    #[error("service {service}: {}", lines(faults))]
    Annotations {
        /// The service.
        service: String,
        /// All that is wrong with them.
        faults: Vec<Fault>,
    },
    /// Something else about a service cannot be.
    #[error("service {service:?}: {problem}")]
    Service {
        /// The service.
        service: String,
        /// What, and what would be right.
        problem: String,
    },
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

/// Processes that one service may have if it does not say: a laptop has no scheduler that would refuse.
const MAX_SCALE: u32 = 100;

/// The cluster-wide settings on one machine, where they are not the reference's.
pub fn local_defaults() -> ClusterDefaults {
    ClusterDefaults {
        allow_zero_initial_scale: true,
        max_scale: MAX_SCALE.try_into().ok(),
        // There is no network here that would have to move.
        scale_to_zero_grace_period: Duration::from_secs(1),
        // A process starts in seconds or never.
        progress_deadline: Duration::from_secs(60),
        ..ClusterDefaults::default()
    }
}

impl Service {
    /// Understands the annotations.
    ///
    /// # Errors
    ///
    /// All faults of the service at once.
    pub fn understand(self, defaults: &ClusterDefaults) -> Result<Understood, ConfigError> {
        if !ebb_core::ServiceKey::is_valid_name(&self.name) {
            let problem =
                "not a name for a service: want 1 to 63 of a-z, 0-9 and '-', not at the ends".to_owned();
            return Err(ConfigError::Service { service: self.name, problem });
        }
        match parse(&self.annotations, defaults, Reachability::Reachable) {
            Ok(parsed) => Ok(Understood { service: self, spec: parsed.spec, warnings: parsed.warnings }),
            Err(faults) => Err(ConfigError::Annotations { service: self.name, faults }),
        }
    }
}
