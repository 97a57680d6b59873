//! A Kubernetes cluster as a platform.

pub(crate) mod claim;
