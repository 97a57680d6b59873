//! `config-defaults`: what a revision gets that says nothing itself.

use std::collections::BTreeMap;

use super::Template;

/// What a revision gets that says nothing itself, and the bounds of what it may say.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// `revision-timeout-seconds`.
    pub timeout_seconds: i64,
    /// `max-revision-timeout-seconds`.
    pub max_timeout_seconds: i64,
    /// `revision-response-start-timeout-seconds`.
    pub response_start_timeout_seconds: i64,
    /// `revision-idle-timeout-seconds`; 0 is off.
    pub idle_timeout_seconds: i64,
    /// `revision-RESOURCE-request`, by resource: `cpu`, `memory`, `ephemeral-storage`.
    pub requests: BTreeMap<String, String>,
    /// `revision-RESOURCE-limit`, by resource.
    pub limits: BTreeMap<String, String>,
    /// `container-concurrency`; 0 is no limit.
    pub container_concurrency: i64,
    /// `container-concurrency-max-limit`.
    pub max_container_concurrency: i64,
    /// `allow-container-concurrency-zero`.
    pub allow_container_concurrency_zero: bool,
    /// `container-name-template`.
    pub container_name: Template,
    /// `init-container-name-template`.
    pub init_container_name: Template,
    /// `enable-service-links`; `None` leaves it to Kubernetes.
    pub enable_service_links: Option<bool>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            timeout_seconds: 300,
            max_timeout_seconds: 600,
            response_start_timeout_seconds: 300,
            idle_timeout_seconds: 0,
            requests: BTreeMap::new(),
            limits: BTreeMap::new(),
            container_concurrency: 0,
            max_container_concurrency: 1000,
            allow_container_concurrency_zero: true,
            container_name: Template::text("user-container"),
            init_container_name: Template::text("init-container"),
            enable_service_links: Some(false),
        }
    }
}
