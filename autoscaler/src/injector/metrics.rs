//! What the webhooks tell of themselves.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Counts of what was asked and answered.
#[derive(Clone, Debug, Default)]
pub struct AdmissionMetrics {
    admissions: Family<Labels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    webhook: &'static str,
    outcome: &'static str,
}

/// A question of the API server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    MutatePods,
    MutateServices,
    ValidateServices,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Let through as it is.
    Allowed,
    /// Let through with a change.
    Changed,
    /// Let through without what should have been done.
    Undone,
    /// Not let through.
    Refused,
    /// Not understood.
    Malformed,
    /// Not there in time.
    Late,
}

impl Hook {
    /// The one that is asked at `path`.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/mutate/pods" => Some(Self::MutatePods),
            "/mutate/services" => Some(Self::MutateServices),
            "/validate/services" => Some(Self::ValidateServices),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::MutatePods => "mutate-pods",
            Self::MutateServices => "mutate-services",
            Self::ValidateServices => "validate-services",
        }
    }
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Changed => "changed",
            Self::Undone => "undone",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::Late => "late",
        }
    }
}

impl AdmissionMetrics {
    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "admissions",
            "Questions of the API server. A rise of undone: pods or Services are let through without what they should \
             get; of malformed or late: the API server or the network is in trouble",
            self.admissions.clone(),
        );
    }

    pub(super) fn count(&self, webhook: Hook, outcome: Outcome) {
        let labels = Labels { webhook: webhook.as_str(), outcome: outcome.as_str() };
        self.admissions.get_or_create_owned(&labels).inc();
    }
}
