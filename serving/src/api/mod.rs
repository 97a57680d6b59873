//! The kinds `serving.knative.dev`: what users write, and what they read back.
//!
//! The schemas say three things of a field. A field that is here is kept; one that is not here is dropped by the API
//! server without an error. A field that needs a flag (`config-features`) is kept whatever it holds, because only the
//! webhook knows the flags; it goes into the pod as it is.

mod configuration;
mod container;
mod crds;
mod domain_mapping;
mod pod;
mod probe;
mod revision;
mod route;
mod schema;
mod service;
mod status;
mod template;
mod volume;

pub use configuration::{Configuration, ConfigurationSpec, ConfigurationStatus};
pub use container::{
    Capabilities, Container, ContainerPort, EnvFromSource, EnvVar, EnvVarSource, KeySelector, NamedSource,
    Resources, SeccompProfile, SecurityContext, VolumeMount,
};
pub use crds::crds;
pub use domain_mapping::{
    ClusterDomainClaim, ClusterDomainClaimSpec, DomainMapping, DomainMappingSpec, DomainMappingStatus,
    MappingTls, Reference,
};
pub use pod::{LocalReference, Revision, RevisionSpec};
pub use probe::{Exec, Grpc, Header, HttpGet, Probe, TcpSocket};
pub use revision::{ContainerStatus, RevisionStatus};
pub use route::{Route, RouteSpec, RouteStatus, TrafficTarget};
pub use service::{Service, ServiceSpec, ServiceStatus};
pub use status::{Addressable, Addresses, Condition, LatestRevisions, Observed};
pub use template::{RevisionTemplate, TemplateMetadata};
pub use volume::{
    ConfigMapVolume, Downward, DownwardItem, EmptyDir, KeyToPath, Keys, ObjectProjection, ProjectedSource,
    ProjectedVolume, SecretVolume, TokenProjection, Volume, VolumeClaim,
};
