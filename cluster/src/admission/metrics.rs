//! Metrics of the webhooks.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Counts requests by outcome.
#[derive(Clone, Debug, Default)]
pub struct AdmissionMetrics {
    admissions: Family<Labels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    webhook: String,
    outcome: &'static str,
}

/// The outcome of a request of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Admitted unchanged.
    Allowed,
    /// Admitted with a change.
    Changed,
    /// Admitted without a change that was needed.
    Undone,
    /// Refused.
    Refused,
    /// Not parsed.
    Malformed,
    /// Not received in time.
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
    /// Registers them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "admissions",
            "Requests of the API server, by outcome. A rise of undone means that pods or Services are admitted \
             without the changes that they need; of malformed or late, that the API server or the network has \
             problems",
            self.admissions.clone(),
        );
    }

    pub(super) fn count(&self, path: &str, outcome: Outcome) {
        let webhook = path.trim_start_matches('/').replace('/', "-");
        let labels = Labels { webhook, outcome: outcome.as_str() };
        self.admissions.get_or_create_owned(&labels).inc();
    }
}
