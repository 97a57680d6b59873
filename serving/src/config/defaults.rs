//! `config-defaults`: what a revision gets that says nothing itself.

use std::collections::BTreeMap;

use super::{Fault, Map, Template, quantity::is_quantity, reader::Reader, setting::Setting, template::trial};

const TIMEOUT: &str = "revision-timeout-seconds";
const MAX_TIMEOUT: &str = "max-revision-timeout-seconds";
const RESPONSE_START_TIMEOUT: &str = "revision-response-start-timeout-seconds";
const IDLE_TIMEOUT: &str = "revision-idle-timeout-seconds";
const CONCURRENCY: &str = "container-concurrency";
const MAX_CONCURRENCY: &str = "container-concurrency-max-limit";
const ALLOW_CONCURRENCY_ZERO: &str = "allow-container-concurrency-zero";
const CONTAINER_NAME: &str = "container-name-template";
const INIT_CONTAINER_NAME: &str = "init-container-name-template";
const SERVICE_LINKS: &str = "enable-service-links";
/// The keys of requests, each with its resource.
const REQUESTS: [(&str, &str); 3] = [
    ("revision-cpu-request", "cpu"),
    ("revision-memory-request", "memory"),
    ("revision-ephemeral-storage-request", "ephemeral-storage"),
];
/// The keys of limits, each with its resource.
const LIMITS: [(&str, &str); 3] = [
    ("revision-cpu-limit", "cpu"),
    ("revision-memory-limit", "memory"),
    ("revision-ephemeral-storage-limit", "ephemeral-storage"),
];

/// The keys of the map.
pub(super) const KEYS: &[&str] = &[
    TIMEOUT,
    MAX_TIMEOUT,
    RESPONSE_START_TIMEOUT,
    IDLE_TIMEOUT,
    CONCURRENCY,
    MAX_CONCURRENCY,
    ALLOW_CONCURRENCY_ZERO,
    CONTAINER_NAME,
    INIT_CONTAINER_NAME,
    SERVICE_LINKS,
    REQUESTS[0].0,
    REQUESTS[1].0,
    REQUESTS[2].0,
    LIMITS[0].0,
    LIMITS[1].0,
    LIMITS[2].0,
];

/// The largest number of the map: Kubernetes counts the seconds of pods, and the reference its requests, in as much.
const LARGEST: i64 = i32::MAX as i64;

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

impl Defaults {
    /// Reads the map; absent keys have their defaults, and unknown ones are ignored.
    ///
    /// # Errors
    ///
    /// Returns everything that is wrong with it.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Self, Vec<Fault>> {
        let mut read = Self::default();
        let mut from = Reader::new(Map::Defaults, data);
        read.read_timeouts(&mut from);
        read.read_concurrency(&mut from);
        read_quantities(&REQUESTS, &mut read.requests, &mut from);
        read_quantities(&LIMITS, &mut read.limits, &mut from);
        for (key, field) in
            [(CONTAINER_NAME, &mut read.container_name), (INIT_CONTAINER_NAME, &mut read.init_container_name)]
        {
            let want = "the template of a container's name, as user-container or {{.Name}}";
            from.template(&Setting::new(key), field, want, trial::container_name);
        }
        let links = [("true", Some(true)), ("false", Some(false)), ("default", None)];
        from.word(&Setting::new(SERVICE_LINKS), &mut read.enable_service_links, &links);
        from.finish(read)
    }

    fn read_timeouts(&mut self, from: &mut Reader<'_>) {
        from.integer(&Setting::new(TIMEOUT), &mut self.timeout_seconds, 1..=LARGEST);
        from.integer(&Setting::new(MAX_TIMEOUT), &mut self.max_timeout_seconds, 1..=LARGEST);
        self.response_start_timeout_seconds = self.timeout_seconds;
        let response_start = &mut self.response_start_timeout_seconds;
        from.integer(&Setting::new(RESPONSE_START_TIMEOUT), response_start, 0..=LARGEST);
        from.integer(&Setting::new(IDLE_TIMEOUT), &mut self.idle_timeout_seconds, 0..=LARGEST);
        let (whole, max) = (self.timeout_seconds, self.max_timeout_seconds);
        for (key, value, larger, bound) in [
            (TIMEOUT, whole, MAX_TIMEOUT, max),
            (RESPONSE_START_TIMEOUT, self.response_start_timeout_seconds, TIMEOUT, whole),
            (IDLE_TIMEOUT, self.idle_timeout_seconds, TIMEOUT, whole),
        ] {
            if value > bound {
                from.quote(key, &value, format!("{key} ({value}) cannot be greater than {larger} ({bound})"));
            }
        }
    }

    fn read_concurrency(&mut self, from: &mut Reader<'_>) {
        from.integer(&Setting::new(MAX_CONCURRENCY), &mut self.max_container_concurrency, 1..=LARGEST);
        from.integer(&Setting::new(CONCURRENCY), &mut self.container_concurrency, 0..=LARGEST);
        from.boolean(&Setting::new(ALLOW_CONCURRENCY_ZERO), &mut self.allow_container_concurrency_zero);
        let (value, max) = (self.container_concurrency, self.max_container_concurrency);
        if value > max {
            from.quote(CONCURRENCY, &value, format!("expected 0 <= {value} <= {max}: {CONCURRENCY}"));
        }
    }
}

fn read_quantities(
    keys: &[(&'static str, &str)],
    quantities: &mut BTreeMap<String, String>,
    from: &mut Reader<'_>,
) {
    for (key, resource) in keys {
        let Some(found) = from.find(&Setting::new(key)) else { continue };
        if is_quantity(found.text) {
            quantities.insert((*resource).to_owned(), found.text.to_owned());
        } else {
            from.fault(found.key, found.text, "is not a quantity", "a quantity as 400m or 100M");
        }
    }
}

#[cfg(test)]
mod tests;
