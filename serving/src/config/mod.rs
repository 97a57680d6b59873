//! The settings of an installation, from `ConfigMap`s with the reference's names and keys.

mod defaults;
mod deployment;
mod domain;
mod features;
mod gc;
mod network;
mod template;

pub use defaults::Defaults;
pub use deployment::Deployment;
pub use domain::Domains;
pub use features::{Feature, Features, Flag, SecureDefaults};
pub use gc::Gc;
pub use network::{HttpProtocol, Network, Scheme};
pub use template::{Template, Values};

/// The settings in effect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `config-defaults`.
    pub defaults: Defaults,
    /// `config-deployment`.
    pub deployment: Deployment,
    /// `config-domain`.
    pub domains: Domains,
    /// `config-features`.
    pub features: Features,
    /// `config-gc`.
    pub gc: Gc,
    /// `config-network`.
    pub network: Network,
    /// `config-autoscaler`.
    pub autoscaler: ebb_annotations::ClusterDefaults,
}
