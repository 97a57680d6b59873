//! The maps that make up the settings.

use super::{
    autoscaler, defaults, deployment, features, gc, network,
    setting::{Setting, known},
};

/// A `ConfigMap` with settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Map {
    /// `config-autoscaler`.
    Autoscaler,
    /// `config-defaults`.
    Defaults,
    /// `config-deployment`.
    Deployment,
    /// `config-domain`.
    Domain,
    /// `config-features`.
    Features,
    /// `config-gc`.
    Gc,
    /// `config-network`.
    Network,
}

impl Map {
    /// All maps.
    pub const ALL: [Self; 7] = [
        Self::Autoscaler,
        Self::Defaults,
        Self::Deployment,
        Self::Domain,
        Self::Features,
        Self::Gc,
        Self::Network,
    ];

    /// Returns the map with this name; `None` if a `ConfigMap` with this name has no settings.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|map| map.name() == name)
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autoscaler => "config-autoscaler",
            Self::Defaults => "config-defaults",
            Self::Deployment => "config-deployment",
            Self::Domain => "config-domain",
            Self::Features => "config-features",
            Self::Gc => "config-gc",
            Self::Network => "config-network",
        }
    }

    /// Returns the settings that it may have; `None` if its keys are names that the operator chooses.
    pub(super) fn settings(self) -> Option<Vec<Setting>> {
        match self {
            Self::Autoscaler => Some(autoscaler::settings()),
            Self::Defaults => Some(known(defaults::KEYS)),
            Self::Deployment => Some(deployment::SETTINGS.to_vec()),
            Self::Domain => None,
            Self::Features => Some(features::settings()),
            Self::Gc => Some(known(gc::KEYS)),
            Self::Network => Some(network::SETTINGS.to_vec()),
        }
    }
}
