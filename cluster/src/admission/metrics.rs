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

/// What became of a question of the API server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
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
            "Requests of the API server, by outcome. A rise of undone means that pods or Services are admitted \
             without the changes that they need; of malformed or late, that the API server or the network has \
             problems",
            self.admissions.clone(),
        );
    }

    pub(super) fn count(&self, webhook: &'static str, outcome: Outcome) {
        let labels = Labels { webhook, outcome: outcome.as_str() };
        self.admissions.get_or_create_owned(&labels).inc();
    }
}
