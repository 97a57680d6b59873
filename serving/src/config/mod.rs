//! The settings of an installation, from `ConfigMap`s with the reference's names and keys.

mod admit;
mod autoscaler;
mod defaults;
mod deployment;
mod domain;
mod example;
mod fault;
mod features;
#[cfg(test)]
mod fixtures;
mod gc;
mod map;
mod network;
mod quantity;
mod reader;
mod selector;
mod setting;
mod settings;
mod template;
mod warnings;

pub use admit::admit;
pub use defaults::Defaults;
pub use deployment::Deployment;
pub use domain::{Domains, cluster_domain};
pub use example::example_fault;
pub use fault::Fault;
pub use features::{Feature, Features, Flag, SecureDefaults};
pub use gc::Gc;
pub use map::Map;
pub use network::{HttpProtocol, Network, Scheme};
pub use settings::{Settings, Taken};
pub use template::{Template, Values};

/// The key of a map whose value shows what could be set.
const EXAMPLE: &str = "_example";

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
