//! The last valid settings, while the maps change.

use std::collections::BTreeMap;

use super::{
    Config, Defaults, Deployment, Domains, Fault, Features, Gc, Map, Network, autoscaler, warnings::warnings,
};

/// The last valid settings, and what is wrong with the maps as they are now.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    config: Config,
    faults: BTreeMap<Map, Vec<Fault>>,
}

/// What came of a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Whether the settings changed.
    pub is_changed: bool,
    /// What is wrong with the map. If anything is, it has no effect, and what held before still does.
    pub faults: Vec<Fault>,
    /// Keys of the map that have no effect, each as a sentence.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Creates the default settings of a cluster whose domain is `cluster_domain`, as `cluster.local`.
    pub fn new(cluster_domain: &str) -> Self {
        let mut settings = Self::default();
        cluster_domain.clone_into(&mut settings.config.domains.cluster);
        settings
    }

    /// Returns the settings in effect.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns what is wrong with all maps.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.values().flatten()
    }

    /// Takes a map as it is now; without `data`, it does not exist, and its settings have their defaults. Names of
    /// other maps are ignored.
    pub fn take(&mut self, map_name: &str, data: Option<&BTreeMap<String, String>>) -> Taken {
        let Some(map) = Map::of(map_name) else { return Taken::default() };
        let empty = BTreeMap::new();
        let data = data.unwrap_or(&empty);
        let read = self.read(map, data);
        let warnings = warnings(map, data);
        let (is_changed, faults) = match read {
            Ok(is_changed) => {
                self.faults.remove(&map);
                (is_changed, Vec::new())
            }
            Err(faults) => {
                self.faults.insert(map, faults.clone());
                (false, faults)
            }
        };
        Taken { is_changed, faults, warnings }
    }

    /// Reads a map; returns whether the settings changed.
    fn read(&mut self, map: Map, data: &BTreeMap<String, String>) -> Result<bool, Vec<Fault>> {
        let config = &mut self.config;
        Ok(match map {
            Map::Autoscaler => {
                let mut scaling = autoscaler::read(data)?;
                scaling.progress_deadline = config.deployment.progress_deadline;
                put(&mut config.autoscaler, scaling)
            }
            Map::Deployment => {
                let deployment = Deployment::read(data)?;
                config.autoscaler.progress_deadline = deployment.progress_deadline;
                put(&mut config.deployment, deployment)
            }
            Map::Domain => {
                let domains = Domains::read(data)?;
                let cluster = std::mem::take(&mut config.domains.cluster);
                let is_changed = domains.domains != config.domains.domains;
                config.domains = Domains { cluster, ..domains };
                is_changed
            }
            Map::Defaults => put(&mut config.defaults, Defaults::read(data)?),
            Map::Features => put(&mut config.features, Features::read(data)?),
            Map::Gc => put(&mut config.gc, Gc::read(data)?),
            Map::Network => put(&mut config.network, Network::read(data)?),
        })
    }
}

/// Replaces a part of the settings; returns whether it changed.
fn put<T: PartialEq>(part: &mut T, new: T) -> bool {
    let is_changed = *part != new;
    *part = new;
    is_changed
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{prelude::*, sample::Index};

    use super::{super::fixtures::data, *};

    #[test]
    fn a_map_that_does_not_exist_or_was_deleted_has_its_defaults() {
        for map in Map::ALL {
            let mut settings = Settings::new("cluster.local");
            assert_eq!(settings.take(map.name(), None), Taken::default(), "{map:?}");
            assert_eq!(settings.config(), &Config::default(), "{map:?}");
        }
        let mut settings = Settings::new("cluster.local");
        assert!(settings.take("config-gc", Some(&data(&[("min-non-active-revisions", "3")]))).is_changed);
        assert_eq!(settings.config().gc.min_non_active, 3);
        assert!(settings.take("config-gc", None).is_changed);
        assert_eq!(settings.config(), &Config::default());
    }

    #[test]
    fn each_map_changes_its_part_once() {
        for (map, key, value) in [
            ("config-autoscaler", "stable-window", "30s"),
            ("config-defaults", "container-concurrency", "7"),
            ("config-deployment", "progress-deadline", "30s"),
            ("config-domain", "example.com", ""),
            ("config-features", "multi-container", "Disabled"),
            ("config-gc", "max-non-active-revisions", "disabled"),
            ("config-network", "tag-template", "{{.Name}}-{{.Tag}}"),
        ] {
            let mut settings = Settings::new("cluster.local");
            let data = data(&[(key, value)]);
            assert_eq!(
                settings.take(map, Some(&data)),
                Taken { is_changed: true, ..Taken::default() },
                "{map}"
            );
            assert_ne!(settings.config(), &Config::default(), "{map}");
            assert_eq!(settings.take(map, Some(&data)), Taken::default(), "{map}");
        }
    }

    #[test]
    fn a_bad_map_keeps_what_was_valid_until_it_is_good_again() {
        let mut settings = Settings::new("cluster.local");
        let good = data(&[("stable-window", "30s")]);
        settings.take("config-autoscaler", Some(&good));
        let bad = data(&[("stable-window", "1s"), ("max-scale-up-rate", "1")]);
        let taken = settings.take("config-autoscaler", Some(&bad));
        let texts: Vec<String> = taken.faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                r#"config-autoscaler: max-scale-up-rate: "1" is too small; want a number above 1"#,
                r#"config-autoscaler: stable-window: "1s" is too small; want a duration from 6s to 1h"#,
            ]
        );
        assert!(!taken.is_changed);
        assert_eq!(settings.config().autoscaler.stable_window, Duration::from_secs(30));
        assert!(
            settings.take("config-gc", Some(&data(&[("min-non-active-revisions", "x")]))).faults.len() == 1
        );
        assert_eq!(settings.faults().count(), 3);
        assert_eq!(settings.take("config-autoscaler", Some(&good)), Taken::default());
        assert_eq!(settings.faults().count(), 1);
        settings.take("config-gc", None);
        assert_eq!(settings.faults().count(), 0);
    }

    #[test]
    fn other_maps_are_ignored() {
        let mut settings = Settings::new("cluster.local");
        assert_eq!(settings.take("config-logging", Some(&data(&[("a", "b")]))), Taken::default());
    }

    #[test]
    fn the_domain_of_the_cluster_stays() {
        let mut settings = Settings::new("corp.internal");
        settings.take("config-domain", Some(&data(&[("example.com", "selector: {a: b}")])));
        assert_eq!(settings.config().domains.of(&BTreeMap::new()), "svc.corp.internal");
        assert!(
            !settings.take("config-domain", Some(&data(&[("example.com", "selector: {a: b}")]))).is_changed
        );
    }

    #[test]
    fn the_progress_deadline_of_scaling_is_that_of_deployments_in_either_order() {
        let mut settings = Settings::new("cluster.local");
        settings.take("config-deployment", Some(&data(&[("progress-deadline", "90s")])));
        settings.take("config-autoscaler", Some(&data(&[("progress-deadline", "7s")])));
        assert_eq!(settings.config().autoscaler.progress_deadline, Duration::from_secs(90));
        settings.take("config-deployment", Some(&data(&[("progress-deadline", "30s")])));
        assert_eq!(settings.config().autoscaler.progress_deadline, Duration::from_secs(30));
    }

    proptest! {
        #[test]
        fn whatever_a_map_contains_it_counts_as_a_whole_or_not_at_all(
            map in 0..Map::ALL.len(),
            keys in prop::collection::vec((any::<Index>(), "[-a-z0-9.:{} \"%]{0,20}|\\PC{0,20}"), 0..4),
        ) {
            let map = Map::ALL[map];
            let known = map.settings().unwrap_or_default();
            let key = |index: &Index| match known.as_slice() {
                [] => format!("{}.com", index.index(9)),
                known => index.get(known).name.to_owned(),
            };
            let data = keys.iter().map(|(index, value)| (key(index), value.clone())).collect();
            let mut settings = Settings::new("cluster.local");
            let before = settings.config().clone();
            let taken = settings.take(map.name(), Some(&data));
            prop_assert!(taken.faults.is_empty() || !taken.is_changed);
            prop_assert_eq!(taken.is_changed, settings.config() != &before);
            let again = settings.take(map.name(), Some(&data));
            prop_assert_eq!(again, Taken { is_changed: false, ..taken });
        }
    }
}
