//! `config-deployment`: how the pods of revisions are made.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ebb_annotations::GoDuration;
use ebb_core::Host;
use serde::Deserialize;

use super::{
    Fault, Map,
    reader::{Found, Reader},
    selector,
    setting::Setting,
};

const PROGRESS_DEADLINE: Setting = Setting::new("progress-deadline").or(&["progressDeadline"]);
const DIGEST_TIMEOUT: Setting = Setting::new("digest-resolution-timeout").or(&["digestResolutionTimeout"]);
const SKIPPED_REGISTRIES: Setting =
    Setting::new("registries-skipping-tag-resolving").or(&["registriesSkippingTagResolving"]);
const RUNTIME_CLASS: Setting = Setting::new("runtime-class-name");
const AFFINITY: Setting = Setting::new("default-affinity-type");
const ALWAYS_SCHEDULABLE: Setting = Setting::new("pod-is-always-schedulable");

/// The keys of the map. Those of the reference's sidecar have no effect: the sidecar here is the installation's, and
/// takes its resources from a revision's annotations.
pub(super) const SETTINGS: &[Setting] = &[
    PROGRESS_DEADLINE,
    DIGEST_TIMEOUT,
    SKIPPED_REGISTRIES,
    RUNTIME_CLASS,
    AFFINITY,
    ALWAYS_SCHEDULABLE,
    Setting::new("queue-sidecar-image").or(&["queueSidecarImage"]).idle(""),
    Setting::new("queue-sidecar-cpu-request").or(&["queueSidecarCPURequest"]).idle(""),
    Setting::new("queue-sidecar-cpu-limit").or(&["queueSidecarCPULimit"]).idle(""),
    Setting::new("queue-sidecar-memory-request").or(&["queueSidecarMemoryRequest"]).idle(""),
    Setting::new("queue-sidecar-memory-limit").or(&["queueSidecarMemoryLimit"]).idle(""),
    Setting::new("queue-sidecar-ephemeral-storage-request")
        .or(&["queueSidecarEphemeralStorageRequest"])
        .idle(""),
    Setting::new("queue-sidecar-ephemeral-storage-limit").or(&["queueSidecarEphemeralStorageLimit"]).idle(""),
    Setting::new("queue-sidecar-token-audiences").idle(""),
    Setting::new("queue-sidecar-rootca").idle(""),
    Setting::new("queue-sidecar-tls-min-version").idle(""),
    Setting::new("queue-sidecar-tls-max-version").idle(""),
    Setting::new("queue-sidecar-tls-cipher-suites").idle(""),
    Setting::new("queue-sidecar-tls-curve-preferences").idle(""),
    Setting::new("concurrency-state-endpoint").or(&["concurrencyStateEndpoint"]).idle(""),
];

/// The longest progress deadline: Kubernetes counts its seconds in 32 bits.
const LONGEST_DEADLINE: GoDuration = GoDuration::from_secs(i32::MAX as i64);

/// The value of a runtime class.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Class {
    selector: Option<BTreeMap<String, String>>,
}

/// How the pods of revisions are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// `progress-deadline`, in whole seconds.
    pub progress_deadline: Duration,
    /// `digest-resolution-timeout`, for each image.
    pub digest_resolution_timeout: Duration,
    /// `registries-skipping-tag-resolving`.
    pub skipped_registries: BTreeSet<String>,
    /// `runtime-class-name`: classes, each with the labels that a revision must have; the most specific first.
    pub runtime_classes: Vec<(String, BTreeMap<String, String>)>,
    /// `default-affinity-type`: whether the pods of a revision prefer different nodes.
    pub spread_over_nodes: bool,
    /// `pod-is-always-schedulable`: whether a pod without a node is not a failure.
    pub pod_is_always_schedulable: bool,
}

impl Default for Deployment {
    fn default() -> Self {
        Self {
            progress_deadline: Duration::from_secs(600),
            digest_resolution_timeout: Duration::from_secs(10),
            skipped_registries: ["kind.local", "ko.local", "dev.local"].map(str::to_owned).into(),
            runtime_classes: Vec::new(),
            spread_over_nodes: true,
            pod_is_always_schedulable: false,
        }
    }
}

impl Deployment {
    /// Reads the map; absent keys have their defaults, and unknown ones are ignored.
    ///
    /// # Errors
    ///
    /// Returns everything that is wrong with it.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Self, Vec<Fault>> {
        let mut read = Self::default();
        let mut from = Reader::new(Map::Deployment, data);
        let deadlines = GoDuration::from_secs(1)..=LONGEST_DEADLINE;
        from.seconds(&PROGRESS_DEADLINE, &mut read.progress_deadline, deadlines);
        from.wait(&DIGEST_TIMEOUT, &mut read.digest_resolution_timeout);
        if let Some(found) = from.find(&SKIPPED_REGISTRIES) {
            let names = found.text.split(',').map(str::trim).filter(|name| !name.is_empty());
            read.skipped_registries = names.map(str::to_owned).collect();
        }
        read.read_runtime_classes(&mut from);
        let affinities = [("prefer-spread-revision-over-nodes", true), ("none", false)];
        from.word(&AFFINITY, &mut read.spread_over_nodes, &affinities);
        from.boolean(&ALWAYS_SCHEDULABLE, &mut read.pod_is_always_schedulable);
        from.finish(read)
    }

    fn read_runtime_classes(&mut self, from: &mut Reader<'_>) {
        let Some(Found { key, text }) = from.find(&RUNTIME_CLASS) else { return };
        let want = "runtime classes as gvisor: {selector: {LABEL: VALUE}}";
        let classes = match selector::read_yaml::<BTreeMap<String, Option<Class>>>(text) {
            Ok(classes) => classes,
            Err(problem) => return from.fault(key, text, &problem, want),
        };
        for (name, class) in classes {
            if !name.parse::<Host>().is_ok_and(|name| name.parent().is_none()) {
                from.fault(key, &name, "is not the name of a RuntimeClass", want);
            }
            let wanted = class.unwrap_or_default().selector.unwrap_or_default();
            self.runtime_classes.push((name, wanted));
        }
        // Stable: of those with as many labels, the first by name stays first.
        self.runtime_classes.sort_by_key(|(_, wanted)| Reverse(wanted.len()));
    }

    /// Returns the runtime class of a revision with these labels: the one with the most labels that the revision has
    /// too; of several, the first by name.
    pub fn runtime_class(&self, labels: &BTreeMap<String, String>) -> Option<&str> {
        let class = self.runtime_classes.iter().find(|(_, wanted)| selector::matches(wanted, labels));
        class.map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{data, faults},
        *,
    };

    #[test]
    fn each_key_and_each_older_spelling_sets_its_field() {
        let default = Deployment::default();
        let deadline = || Deployment { progress_deadline: Duration::from_secs(90), ..default.clone() };
        let digests =
            || Deployment { digest_resolution_timeout: Duration::from_millis(1500), ..default.clone() };
        let skipped = |names: &[&str]| Deployment {
            skipped_registries: names.iter().map(|name| (*name).to_owned()).collect(),
            ..default.clone()
        };
        for (key, value, want) in [
            ("_example", "x", default.clone()),
            ("progress-deadline", "1m30s", deadline()),
            ("progressDeadline", "90s", deadline()),
            ("digest-resolution-timeout", "1.5s", digests()),
            ("digestResolutionTimeout", "1500ms", digests()),
            ("registries-skipping-tag-resolving", "a.local, b.local,", skipped(&["a.local", "b.local"])),
            ("registriesSkippingTagResolving", "a.local", skipped(&["a.local"])),
            ("registries-skipping-tag-resolving", "", skipped(&[])),
            ("default-affinity-type", "none", Deployment { spread_over_nodes: false, ..default.clone() }),
            ("default-affinity-type", "prefer-spread-revision-over-nodes", default.clone()),
            (
                "pod-is-always-schedulable",
                "true",
                Deployment { pod_is_always_schedulable: true, ..default.clone() },
            ),
            ("runtime-class-name", "", default.clone()),
            ("queue-sidecar-image", "example.com/queue", default.clone()),
            ("queueSidecarCPULimit", "x", default.clone()),
        ] {
            assert_eq!(Deployment::read(&data(&[(key, value)])), Ok(want), "{key}: {value:?}");
        }
    }

    #[test]
    fn the_runtime_class_with_the_most_labels_wins_then_the_first_by_name() {
        let text = "kata:\n  selector: {app: shop}\ngvisor: {selector: {app: shop, tier: web}}\nbare: {}\nalso:\n\
                    aaa: {selector: {app: shop}}";
        let read = Deployment::read(&data(&[("runtime-class-name", text)])).unwrap();
        let names: Vec<&str> = read.runtime_classes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["gvisor", "aaa", "kata", "also", "bare"]);
        for (labels, want) in
            [(&[][..], "also"), (&[("app", "shop")], "aaa"), (&[("app", "shop"), ("tier", "web")], "gvisor")]
        {
            assert_eq!(read.runtime_class(&data(labels)), Some(want), "{labels:?}");
        }
        assert_eq!(Deployment::default().runtime_class(&data(&[])), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let seconds = "want whole seconds from 1s to 596523h14m7s";
        for (key, value, text) in [
            ("progress-deadline", "600", format!("is not a duration; {seconds}")),
            ("progress-deadline", "0s", format!("is out of range; {seconds}")),
            ("progressDeadline", "1500ms", format!("has a fraction of a second; {seconds}")),
            ("progress-deadline", "900000h", format!("is out of range; {seconds}")),
            ("digest-resolution-timeout", "0s", "is not above zero; want a duration as 10s".to_owned()),
            ("digest-resolution-timeout", "10", "is not a duration; want a duration as 10s".to_owned()),
            (
                "default-affinity-type",
                "spread",
                "is not supported; want prefer-spread-revision-over-nodes or none".to_owned(),
            ),
            ("pod-is-always-schedulable", "maybe", "is not a boolean; want true or false".to_owned()),
        ] {
            assert_eq!(
                faults(Deployment::read(&data(&[(key, value)]))),
                [format!("{key}: {value:?} {text}")]
            );
        }
        for (value, text) in [
            ("gvisor", "\"gvisor\" cannot be read: "),
            ("gvisor: {selectors: {}}", "\"gvisor: {selectors: {}}\" cannot be read: "),
            (
                "G_visor: {}",
                "\"G_visor\" is not the name of a RuntimeClass; want runtime classes as gvisor: ",
            ),
        ] {
            let said = faults(Deployment::read(&data(&[("runtime-class-name", value)])));
            assert!(said[0].starts_with(&format!("runtime-class-name: {text}")), "{said:?}");
        }
    }
}
